"""A served, furnished dashboard and visitors with a real browser, for the tests that look at its pages."""

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import uvicorn
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, expect, sync_playwright
from starlette.applications import Starlette

import webhouse
from tournant.errors import Unavailable
from tournant.services.context import Context
from tournant.web.assets import build_assets
from tournant.web.pages import dashboard

BUILD = Path(__file__).parents[2] / "build" / "web"
AXE = BUILD / "node_modules" / "axe-core" / "axe.min.js"
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
SETTLE_MS = 10_000
SHOWN_MS = 30_000  # a page is drawn in a tenth of the time: one that took a second is not drawn again for ten


def unless_ci(reason: str) -> None:
    """Skip on a machine that lacks something; where tests must run, its absence is a failure."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="module")
def assets() -> None:
    """Build what the dashboard takes from npm, if it is not current."""
    try:
        build_assets(BUILD)
    except Unavailable as exc:
        unless_ci(str(exc))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Start the system's Chromium."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        unless_ci("Chromium is not installed: apt-get install -y chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        expect.set_options(timeout=SHOWN_MS)
        yield browser
        browser.close()


@dataclass
class Site:
    """A served house: where it is, and the context behind it."""

    url: str
    ctx: Context


class Server:
    """An uvicorn server on a free port, in a thread."""

    def __init__(self, app: Starlette) -> None:
        config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning", timeout_graceful_shutdown=1)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)

    def __enter__(self) -> str:
        self._thread.start()
        deadline = time.monotonic() + 20
        while not self._server.started and time.monotonic() < deadline:
            time.sleep(0.01)
        return f"http://127.0.0.1:{self._server.servers[0].sockets[0].getsockname()[1]}"

    def __exit__(self, *_exc: object) -> None:
        self._server.should_exit = True
        self._thread.join(10)


@pytest.fixture(scope="module")
def furnished(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Furnish one database, to be copied."""
    return webhouse.furnished_copy(sqlite_template, tmp_path_factory.mktemp("house") / "metadata.db")


@pytest.fixture
def house(context: Context, clock: object, furnished: Path, tmp_path: Path) -> Iterator[Context]:
    """Give a context with thirty days of four deployments behind it."""
    with webhouse.opened(context, clock, furnished, tmp_path / "house.db") as house:
        yield house


@pytest.fixture
def site(assets: None, house: Context) -> Iterator[Site]:
    """Serve the furnished house."""
    with Server(Starlette(routes=list(dashboard(house)))) as url:
        yield Site(url, house)


@dataclass
class Watch:
    """What must not happen while a page is open."""

    host: str
    wrong: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def on(self, page: Page) -> None:
        """Listen to a page."""
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.wrong.append(f"error: {error}"))
        page.on("request", self._request)
        page.on("requestfailed", self._failed)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):  # a violation of the policy is an error here too
            self.wrong.append(f"console: {message.text}")

    def _request(self, request: Request) -> None:
        if not request.url.startswith("data:"):
            self.requests.append(request.url)
            if not request.url.startswith(self.host):
                self.wrong.append(f"outside request: {request.url}")

    def _failed(self, request: Request) -> None:
        if "/live?" not in request.url:  # a stream ends when its page is left
            self.wrong.append(f"failed: {request.url} {request.failure}")


@pytest.fixture
def visitor(browser: Browser) -> Iterator[Callable[..., BrowserContext]]:
    """Give new visitors, with nothing cached."""
    contexts: list[BrowserContext] = []

    def visit(*, width: int = 1440, scheme: str = "light") -> BrowserContext:
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)  # type: ignore[arg-type]
        context.set_default_timeout(SETTLE_MS)
        contexts.append(context)
        return context

    yield visit
    for context in contexts:
        context.close()


def open_page(context: BrowserContext, url: str, address: str, watch: Watch | None = None) -> Page:
    """Open a page and wait until it is live."""
    page = context.new_page()
    if watch:
        watch.on(page)
    page.goto(url + address)
    page.wait_for_selector("#live[data-state=live]", timeout=SETTLE_MS)
    return page


def flaws(page: Page) -> list[str]:
    """Give what is wrong with a page as it stands: wider than the window, or hard to use by WCAG's rules."""
    overflow = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    page.evaluate(AXE.read_text())
    report = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    serious = [v for v in report["violations"] if v["impact"] in ("serious", "critical")]
    return [f"{v['id']}: {v['nodes'][0]['html'][:160]}" for v in serious] + (
        [f"overflow: {overflow}"] if overflow > 0 else []
    )
