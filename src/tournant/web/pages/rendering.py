"""From a view to an answer: templates, the shell around every page, headers, JSON."""

import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

import jinja2
import msgspec
from starlette.requests import Request
from starlette.responses import Response

from tournant.config import VERSION
from tournant.domain.alerts import Alert, AlertState
from tournant.domain.control import ClockState, Event, GatewayState
from tournant.domain.rollout import Phase, Rollout
from tournant.ports import UnitOfWork
from tournant.web.pages.ask import Page
from tournant.web.pages.csrf import ensure_cookie, read_token
from tournant.web.pages.episodes import alert_words
from tournant.web.pages.formats import FILTERS
from tournant.web.pages.statics import Statics
from tournant.web.pages.timeline import event_href

__all__ = ["SECURITY", "Renderer", "Shell", "read_shell"]

SECURITY = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}
OPEN_PHASES = tuple(phase.value for phase in Phase if not phase.final)
SMALLEST_ZIPPED = 500
PARTS = {
    "ui": "parts.html",
    "runs_ui": "run_parts.html",
    "curves": "curves.html",
    "compare": "comparison.html",
    "files": "files.html",
}  # macros, by the name that templates use


@dataclass(frozen=True, slots=True, kw_only=True)
class Shell:
    """What stands around every page; `mark` names the state of the metadata it shows."""

    alerts: int
    rollouts: int
    gateways: int
    replay: float | None
    mark: str
    now: float


def read_shell(uow: UnitOfWork, now: float) -> Shell:
    """Read the navigation's counts, and a mark that changes whenever a page might."""
    newest = uow.find(Event, order="-id", limit=1)
    rollouts = uow.find(Rollout, phase__in=OPEN_PHASES)
    gateways = uow.find(GatewayState)
    clock = uow.get(ClockState, "replay")
    seen = [(g.id, g.sequence, g.routes_version) for g in gateways]
    state = repr((newest, rollouts, seen, clock, int(now // 60)))
    digest = hashlib.blake2b(state.encode(), digest_size=6).hexdigest()
    return Shell(
        alerts=uow.count(Alert, state=AlertState.OPEN.value),
        rollouts=len(rollouts),
        gateways=len(gateways),
        replay=clock.now if clock else None,
        mark=f"{newest[0].id if newest else '0'}.{digest}",
        now=now,
    )


class Renderer:
    """Renders views by their templates."""

    def __init__(self, statics: Statics) -> None:
        """Load the templates of this package."""
        self.statics = statics
        self._env = jinja2.Environment(
            loader=jinja2.PackageLoader("tournant.web", "templates"),
            autoescape=True,
            trim_blocks=True,
            lstrip_blocks=True,
            undefined=jinja2.StrictUndefined,
            auto_reload=False,
        )
        self._env.filters.update(FILTERS, json=_json_text, url=_url, event_href=event_href, alert_words=alert_words)
        self._env.globals.update(version=VERSION, statics=statics)
        for name, template in PARTS.items():
            self._env.globals[name] = self._env.get_template(template).module

    def page(self, request: Request, page: Page, view: Any, shell: Shell, *, status: int = 200) -> Response:
        """Answer with a whole page."""
        values = self._values(request, page, view, shell)
        response = self.html(request, self._env.get_template(page.template).render(values), status)
        ensure_cookie(request, response, values["token"])
        return response

    def sections(self, request: Request, page: Page, view: Any, shell: Shell) -> dict[str, str]:
        """Render only the parts of a page that change by themselves: its blocks named `live_<id>`."""
        values = self._values(request, page, view, shell)
        found: dict[str, str] = {}
        for name in dict.fromkeys(("base.html", page.template)):
            template = self._env.get_template(name)
            for block, render in template.blocks.items():
                if block.startswith("live_"):
                    found[block.removeprefix("live_")] = "".join(render(template.new_context(values))).strip()
        return found

    def html(self, request: Request, text: str, status: int = 200) -> Response:
        """Answer with HTML under the security headers, compressed where the browser can."""
        return _zipped(request, Response(text, status, dict(SECURITY), "text/html"))

    def json(self, request: Request, view: Any) -> Response:
        """Answer with a view's data."""
        headers = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}
        return _zipped(request, Response(msgspec.json.encode(view), 200, headers, "application/json"))

    def error(self, request: Request, status: int, message: str, number: str) -> Response:
        """Answer with the error page."""
        template = self._env.get_template("error.html")
        theme = request.cookies.get("tournant_theme", "")
        text = template.render(status=status, message=message, number=number, path=request.url.path, theme=theme)
        return self.html(request, text, status)

    def fragment(self, request: Request, name: str, values: Mapping[str, object]) -> Response:
        """Answer with a template on its own."""
        theme = request.cookies.get("tournant_theme", "")
        return self.html(request, self._env.get_template(name).render({"theme": theme, **values}))

    def _values(self, request: Request, page: Page, view: Any, shell: Shell) -> dict[str, Any]:
        here = request.query_params.get("path") if request.url.path == "/live" else None
        address = here or str(request.url.path) + (f"?{request.url.query}" if request.url.query else "")
        path, _, query = address.partition("?")
        theme = request.cookies.get("tournant_theme", "")
        return {
            "view": view,
            "page": page,
            "shell": shell,
            "now": view.now,
            "token": read_token(request),
            "theme": theme if theme in ("light", "dark") else "",
            "address": address,
            "json_address": f"{path}.json" + (f"?{query}" if query else ""),
            "live_address": "/live?" + urlencode({"path": address, "seen": shell.mark}),
        }


def _zipped(request: Request, response: Response) -> Response:
    response.headers["Vary"] = "Accept-Encoding, Cookie"
    body = bytes(response.body)
    if len(body) >= SMALLEST_ZIPPED and "gzip" in request.headers.get("accept-encoding", ""):
        response.body = gzip.compress(body, 6)
        response.headers["Content-Encoding"] = "gzip"
        response.headers["Content-Length"] = str(len(response.body))
    return response


def _json_text(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _url(text: str) -> str:
    return quote(text, safe="")
