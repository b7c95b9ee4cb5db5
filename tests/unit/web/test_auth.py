"""Who may ask."""

from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from tournant.config import Settings
from tournant.web.auth import Authentication


def client_of(settings: Settings, host: str = "127.0.0.1:5000") -> TestClient:
    async def fine(_request):
        return PlainTextResponse("fine")

    routes = [Route("/api/x", fine, methods=["GET", "POST"]), Route("/health", fine)]
    app = Starlette(routes=routes, middleware=[Middleware(Authentication, settings)])
    return TestClient(app, base_url=f"http://{host}")


@pytest.fixture
def local() -> TestClient:
    return client_of(Settings(home=Path()))


@pytest.fixture
def public() -> TestClient:
    return client_of(Settings(home=Path(), host="0.0.0.0", token="secret"), host="models.example:5000")


def test_loopback_asks_for_nothing(local):
    """On loopback a request passes without a token."""
    assert local.get("/api/x").status_code == 200


def test_a_name_that_was_rebound_to_loopback_is_refused():
    """A Host that is not a loopback name is answered 401: DNS rebinding."""
    answer = client_of(Settings(home=Path()), host="evil.example").get("/api/x")
    assert answer.status_code == 401
    assert "loopback names only" in answer.json()["error"]["message"]


def test_another_origin_may_not_change_anything(local):
    """A form or script of another site is refused, one of our own passes."""
    assert local.post("/api/x", headers={"Origin": "https://evil.example"}).status_code == 401
    assert local.post("/api/x", headers={"Origin": "http://127.0.0.1:5000"}).status_code == 200


def test_a_public_address_needs_the_token(public):
    """Off loopback nothing passes without the token but health."""
    assert public.get("/api/x").status_code == 401
    assert public.get("/api/x", headers={"Authorization": "Bearer wrong"}).status_code == 401
    assert public.get("/api/x", headers={"Authorization": "Bearer secret"}).status_code == 200
    assert public.get("/api/x", headers={"Cookie": "tournant_token=secret"}).status_code == 200
    assert public.get("/health").status_code == 200
