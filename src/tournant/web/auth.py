"""Who may ask: nothing to prove on loopback, a token on any other address; and no other site may ask through a browser."""

import hmac
from http.cookies import SimpleCookie
from urllib.parse import urlsplit

from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from tournant.config import LOOPBACK, Settings
from tournant.errors import Denied
from tournant.web.errors import error_response

__all__ = ["COOKIE", "Authentication"]

COOKIE = "tournant_token"
_OPEN = ("/health", "/login", "/static/")


class Authentication:
    """ASGI middleware that lets a request pass or answers 401.

    Without a token (loopback) the `Host` must be a loopback name, which stops DNS rebinding; a request that changes
    something must not come from another origin, which stops cross-site forms.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        """Guard `app` by the settings' token, if there is one."""
        self._app = app
        self._token = settings.token
        self._public = settings.public

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        reason = self._refusal(scope) if scope["type"] == "http" else None
        if reason is None:
            await self._app(scope, receive, send)
        elif self._token and scope["method"] == "GET" and b"text/html" in dict(scope["headers"]).get(b"accept", b""):
            await RedirectResponse("/login", 303)(scope, receive, send)
        else:
            await error_response(Denied(reason))(scope, receive, send)

    def _refusal(self, scope: Scope) -> str | None:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        host = urlsplit(f"//{headers.get('host', '')}")
        if not self._public and host.hostname not in LOOPBACK:
            return f"this server answers to loopback names only, not to {host.hostname!r}"
        origin = headers.get("origin", "")
        if scope["method"] not in ("GET", "HEAD", "OPTIONS") and origin and urlsplit(origin).netloc != host.netloc:
            return f"a page of {origin} may not change anything here"
        if not self._token or scope["path"].startswith(_OPEN) or self._proves(headers):
            return None
        return "a token is needed: send it as 'Authorization: Bearer …' or log in at /login"

    def _proves(self, headers: dict[str, str]) -> bool:
        given = headers.get("authorization", "").removeprefix("Bearer ")
        if not given and COOKIE in headers.get("cookie", ""):
            given = SimpleCookie(headers["cookie"])[COOKIE].value
        return hmac.compare_digest(given.encode(), self._token.encode())
