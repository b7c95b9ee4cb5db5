"""Forms come only from our own pages: a random cookie that each form repeats (double submit)."""

import hmac
import secrets
from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response

from tournant.errors import Denied

__all__ = ["FIELD", "check_token", "ensure_cookie", "read_token"]

COOKIE = "tournant_csrf"
FIELD = "csrf"
LENGTH = 43  # characters of token_urlsafe(32)


def read_token(request: Request) -> str:
    """Give the visitor's token, or a new one."""
    token = request.cookies.get(COOKIE, "")
    return token if len(token) == LENGTH else secrets.token_urlsafe(32)


def ensure_cookie(request: Request, response: Response, token: str) -> None:
    """Give a visitor without the cookie one; no other site's page can read or send it."""
    if request.cookies.get(COOKIE) != token:
        response.set_cookie(COOKIE, token, httponly=True, samesite="strict", secure=request.url.scheme == "https")


def check_token(request: Request, form: Mapping[str, object]) -> None:
    """Raise Denied unless the form repeats the cookie."""
    cookie, field = request.cookies.get(COOKIE, ""), str(form.get(FIELD, ""))
    if len(cookie) != LENGTH or not hmac.compare_digest(cookie.encode(), field.encode()):
        raise Denied("This form is not from a page of this server, or its page is too old. Go back, reload, try again.")
