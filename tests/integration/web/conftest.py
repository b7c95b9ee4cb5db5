"""A furnished house with the dashboard before it, and an empty one."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

import webhouse
from tournant.services.context import Context
from tournant.web.pages import dashboard


@pytest.fixture(scope="session")
def furnished_template(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Furnish one database, to be copied."""
    return webhouse.furnished_copy(sqlite_template, tmp_path_factory.mktemp("house") / "metadata.db")


@pytest.fixture
def house(context: Context, clock: object, furnished_template: Path, tmp_path: Path) -> Iterator[Context]:
    """Give a context with thirty days of four deployments behind it."""
    with webhouse.opened(context, clock, furnished_template, tmp_path / "house.db") as house:
        yield house


@pytest.fixture
def client(house: Context) -> Iterator[TestClient]:
    """Give a browser-like client of the furnished house."""
    with TestClient(Starlette(routes=list(dashboard(house))), follow_redirects=False) as client:
        yield client


@pytest.fixture
def empty_client(context: Context) -> Iterator[TestClient]:
    """Give a client of a house in which nothing has happened yet."""
    with TestClient(Starlette(routes=list(dashboard(context)))) as client:
        yield client
