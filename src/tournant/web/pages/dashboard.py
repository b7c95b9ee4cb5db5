"""The dashboard's routes: pages, their JSON, the live stream, search, forms, files."""

import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import structlog
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route

from tournant.errors import Invalid, NotFound, TournantError
from tournant.ports import UnitOfWork
from tournant.services.context import Context
from tournant.web.errors import STATUS, error_response
from tournant.web.pages import (
    alerts,
    artifacts,
    datasets,
    deployments,
    models,
    monitors,
    overview,
    retrainings,
    run,
    run_comparison,
    runs,
    timeline,
    version_comparison,
)
from tournant.web.pages.actions import action_routes
from tournant.web.pages.ask import Ask, Page
from tournant.web.pages.curves import curve_routes
from tournant.web.pages.live import Snapshot, stream_sections
from tournant.web.pages.login import login_routes
from tournant.web.pages.rendering import Renderer, Shell, read_shell
from tournant.web.pages.search import search
from tournant.web.pages.statics import FOLDER, Statics

__all__ = ["PAGES", "dashboard"]

PAGES: tuple[Page, ...] = (
    *overview.PAGES,
    *version_comparison.PAGES,
    *models.PAGES,
    *runs.PAGES,
    *run_comparison.PAGES,
    *artifacts.PAGES,
    *run.PAGES,
    *datasets.PAGES,
    *deployments.PAGES,
    *monitors.PAGES,
    *alerts.PAGES,
    *retrainings.PAGES,
    *timeline.PAGES,
)
Handler = Callable[[Request], Awaitable[Response]]
_log = structlog.get_logger("tournant.web")


def dashboard(ctx: Context, *, static: Path = FOLDER) -> Sequence[BaseRoute]:
    """Give the dashboard's routes, to be mounted at `/` after the API's; `static` holds its scripts, styles and fonts."""
    statics = Statics(static)
    site = Site(ctx, Renderer(statics))
    pages = [route for page in PAGES for route in site.routes(page)]
    return [
        Route("/static/{hash}/{name:path}", statics.answer),
        Route("/live", site.guarded(site.live)),
        Route("/search", site.guarded(site.search)),
        *login_routes(ctx, site.renderer, site.guarded),
        *action_routes(ctx, site.renderer, site.guarded),
        *curve_routes(ctx, site.renderer, site.guarded),
        *artifacts.artifact_routes(ctx, site.guarded),
        *pages,
        Route("/{rest:path}", site.guarded(site.unknown), methods=["GET", "POST"]),
    ]


class Site:
    """Answers requests for pages from one context."""

    def __init__(self, ctx: Context, renderer: Renderer) -> None:
        """Read through `ctx`, render by `renderer`."""
        self.ctx = ctx
        self.renderer = renderer
        self._pages = [(Route(page.path, _never), page) for page in PAGES]

    def routes(self, page: Page) -> list[Route]:
        """Give a page's routes: `.json` first, for a name may hold any other character."""

        async def html(request: Request) -> Response:
            view, shell = await run_in_threadpool(self.read, page, request, request.path_params, request.query_params)
            return self.renderer.page(request, page, view, shell, status=400 if view.problem else 200)

        async def data(request: Request) -> Response:
            view, _ = await run_in_threadpool(self.read, page, request, request.path_params, request.query_params)
            if view.problem:
                raise Invalid(view.problem)
            return self.renderer.json(request, view)

        return [Route(page.path + ".json", self.guarded(data)), Route(page.path, self.guarded(html))]

    def read(self, page: Page, request: Request, path: dict[str, str], query: QueryParams) -> tuple[Any, Shell]:
        """Make a page's view and the shell around it in one read transaction."""
        with self.ctx.transactions.begin(write=False) as uow:
            ask = self._ask(uow, request, path, query)
            return page.view(ask), _shell(page, ask)

    def _ask(self, uow: UnitOfWork, request: Request, path: dict[str, str], query: QueryParams) -> Ask:
        return Ask(
            uow=uow,
            blobs=self.ctx.blobs,
            now=self.ctx.clock.now(),
            path=path,
            query=query,
            pairs=query.multi_items(),
            cookies=request.cookies,
        )

    async def live(self, request: Request) -> Response:
        """Stream the changes of the page at the query's `path`."""
        page, path, query = self._find(request.query_params.get("path", "/"))

        def draw() -> Snapshot:
            view, shell = self.read(page, request, path, query)
            return Snapshot(shell.mark, self.renderer.sections(request, page, view, shell))

        def peek() -> str:
            with self.ctx.transactions.begin(write=False) as uow:
                return _shell(page, self._ask(uow, request, path, query)).mark

        return stream_sections(request, lambda: run_in_threadpool(peek), lambda: run_in_threadpool(draw))

    def _find(self, address: str) -> tuple[Page, dict[str, str], QueryParams]:
        """Find the page of an address as a request for it would."""
        path, _, query = address.partition("?")
        scope = {"type": "http", "method": "GET", "path": path, "query_string": query.encode(), "headers": []}
        for route, page in self._pages:
            match, found = route.matches(scope)
            if match is Match.FULL:
                return page, found["path_params"], Request({**scope, **found}).query_params
        raise NotFound(f"There is no page {path!r}.")

    async def search(self, request: Request) -> Response:
        """Answer with what a few letters may mean."""
        text = request.query_params.get("q", "").strip()[:80]

        def look() -> Any:
            with self.ctx.transactions.begin(write=False) as uow:
                return search(uow, text)

        found = await run_in_threadpool(look)
        return self.renderer.fragment(request, "search.html", {"found": found, "text": text})

    async def unknown(self, request: Request) -> Response:
        """Say that there is no such page."""
        raise NotFound(f"There is no page {request.url.path!r}.")

    def guarded(self, handler: Handler) -> Handler:
        """Turn errors into the error page (JSON for JSON), with an id that the log has too."""

        async def answer(request: Request) -> Response:
            try:
                return await handler(request)
            except TournantError as exc:
                if request.url.path.endswith(".json"):
                    return error_response(exc)
                return self.renderer.error(request, STATUS[exc.code], exc.message, "")
            except Exception as exc:
                number = uuid.uuid4().hex[:7]
                _log.error("page failed", id=number, path=request.url.path, exc_info=exc)
                message = "Something went wrong inside tournant. Its log has the details under the id below."
                return self.renderer.error(request, 500, message, number)

        return answer


def _shell(page: Page, ask: Ask) -> Shell:
    shell = read_shell(ask.uow, ask.now)
    return replace(shell, mark=f"{shell.mark}.{page.mark(ask)}") if page.mark else shell


async def _never(_request: Request) -> Response:  # pragma: no cover - a route that only matches
    raise NotImplementedError
