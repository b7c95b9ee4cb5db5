"""Logging in with the server's token, where one is needed."""

import hmac
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from tournant.errors import Denied
from tournant.services.context import Context
from tournant.web.auth import COOKIE
from tournant.web.pages.csrf import check_token, ensure_cookie, read_token
from tournant.web.pages.forms import read_form
from tournant.web.pages.rendering import Renderer

__all__ = ["login_routes"]

Handler = Callable[[Request], Awaitable[Response]]
MONTH = 30 * 86_400


def login_routes(ctx: Context, renderer: Renderer, guarded: Callable[[Handler], Handler]) -> list[Route]:
    """Give the login form and what it posts to."""

    async def show(request: Request) -> Response:
        token = read_token(request)
        response = renderer.fragment(request, "login.html", {"token": token, "needed": bool(ctx.settings.token)})
        ensure_cookie(request, response, token)
        return response

    async def enter(request: Request) -> Response:
        form = await read_form(request)
        check_token(request, form)
        if not hmac.compare_digest(form.get("token", "").encode(), ctx.settings.token.encode()):
            raise Denied("That is not this server's token. It stands in the file `token` of its home folder.")
        response = RedirectResponse("/", 303)
        secure = request.url.scheme == "https"
        response.set_cookie(COOKIE, ctx.settings.token, max_age=MONTH, httponly=True, samesite="strict", secure=secure)
        return response

    return [Route("/login", guarded(show)), Route("/login", guarded(enter), methods=["POST"])]
