"""The dashboard in a real browser: each page clean, light, live and usable by keyboard, over a server on loopback."""

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import uvicorn
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, expect, sync_playwright
from starlette.applications import Starlette

import webhouse
from tournant.adapters.sql.transactions import SqlTransactions, create_engine
from tournant.domain.alerts import Alert, AlertState
from tournant.errors import Unavailable
from tournant.services.context import Context
from tournant.services.rollouts import pause_rollout, resume_rollout
from tournant.web.assets import build_assets
from tournant.web.pages import dashboard
from tournant.web.pages.statics import FOLDER

pytestmark = pytest.mark.browser

BUILD = Path(__file__).parents[2] / "build" / "web"
AXE = BUILD / "node_modules" / "axe-core" / "axe.min.js"
CHURN = webhouse.ident("rchurn", 3)
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
FIRST_LOAD_BYTES = 110_000
FIRST_LOAD_REQUESTS = 10
LATER_BYTES = 15_000
SETTLE_MS = 10_000


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
    path = tmp_path_factory.mktemp("house") / "metadata.db"
    shutil.copyfile(sqlite_template, path)
    engine = create_engine(f"sqlite:///{path}")
    webhouse.furnish(SqlTransactions(engine))
    engine.dispose()
    return path


@pytest.fixture
def house(context: Context, clock: object, furnished: Path, tmp_path: Path) -> Iterator[Context]:
    """Give a context with thirty days of four deployments behind it."""
    clock.time = webhouse.NOW  # type: ignore[attr-defined]
    shutil.copyfile(furnished, tmp_path / "house.db")
    engine = create_engine(f"sqlite:///{tmp_path / 'house.db'}")
    yield replace(context, transactions=SqlTransactions(engine))
    engine.dispose()


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


SAME = (
    "/deployments/eta",
    "/monitors/churn",
    "/monitors/eta",
    "/models/fraud/versions/1",
)  # as others, but for numbers
PAGES = tuple(address for address in webhouse.addresses() if "?" not in address and address not in SAME)


@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (768, "dark")])
def test_every_page_is_clean(site: Site, visitor: Callable[..., BrowserContext], width: int, scheme: str) -> None:
    """No console message, failed or outside request, overflow or serious accessibility violation, in both themes and widths."""
    context = visitor(width=width, scheme=scheme)
    axe = AXE.read_text()
    found: dict[str, object] = {}
    for address in PAGES:
        watch = Watch(site.url)
        page = open_page(context, site.url, address, watch)
        overflow = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        page.evaluate(axe)
        report = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        serious = [
            f"{v['id']}: {v['nodes'][0]['html'][:160]}"
            for v in report["violations"]
            if v["impact"] in ("serious", "critical")
        ]
        if watch.wrong or serious or overflow > 0:
            found[address] = (watch.wrong, serious, overflow)
        page.close()
    assert not found, "\n".join(f"{address}: {what}" for address, what in found.items())


def test_first_load_and_later_pages_stay_within_their_budgets(
    site: Site, visitor: Callable[..., BrowserContext]
) -> None:
    """110 KB and 10 requests at first, with charts too; 15 KB for each page after it."""
    transferred = """performance.getEntriesByType('resource').concat(performance.getEntriesByType('navigation'))
        .reduce((sum, entry) => sum + entry.transferSize, 0)"""
    for first in ("/", "/deployments/churn"):
        context, watch = visitor(), Watch(site.url)
        page = open_page(context, site.url, first, watch)
        page.evaluate("document.fonts.ready")
        assert page.evaluate(transferred) <= FIRST_LOAD_BYTES, first
        assert len(watch.requests) <= FIRST_LOAD_REQUESTS, watch.requests
        page.goto(site.url + "/deployments/fraud")
        for later in ("/deployments", "/runs", "/monitors/fraud", "/timeline", "/models/fraud/versions/2"):
            page.goto(site.url + later)
            assert page.evaluate(transferred) <= LATER_BYTES, (later, page.evaluate(transferred))


def test_a_change_shows_without_reload(site: Site, visitor: Callable[..., BrowserContext]) -> None:
    """Pausing elsewhere changes badge, buttons and verdict of an open page; resuming changes them back."""
    page = open_page(visitor(), site.url, "/deployments/churn")
    page.evaluate("window.same = true")
    expect(page.locator("#chart-latency canvas")).to_have_count(1)
    pause_rollout(site.ctx.acting_as("ada"), CHURN, reason="looking into a ticket")
    expect(page.locator("#head")).to_contain_text("Paused at churn@3")
    expect(page.locator("#verdict")).to_contain_text("Looking into a ticket")
    expect(page.get_by_role("button", name="Resume")).to_be_visible()
    resume_rollout(site.ctx, CHURN, reason="it was nothing")
    expect(page.locator("#head")).to_contain_text("Rolling out churn@3")
    expect(page.locator("#chart-latency canvas")).to_have_count(1)
    assert page.evaluate("window.same") is True


def test_rows_under_the_pointer_wait(site: Site, visitor: Callable[..., BrowserContext]) -> None:
    """A list is not reordered under the pointer: it says that something is new, and shows it on request."""
    page = open_page(visitor(), site.url, "/")
    page.locator("#needs").hover()
    with site.ctx.transactions.begin() as uow:
        alert = uow.get(Alert, webhouse.ident("alert", 3))
        assert alert
        uow.save(
            replace(
                alert, id=webhouse.ident("alert", 9), state=AlertState.OPEN, closed_at=None, summary="Something broke"
            )
        )
        uow.record(site.ctx.event("alert.opened", "deployment/eta", "Something broke"))
    expect(page.locator("#verdict")).to_contain_text("2 failing")
    expect(page.locator("#needs")).not_to_contain_text("Something broke")
    page.locator("#live .hold").click()
    expect(page.locator("#needs")).to_contain_text("Something broke")
    expect(page.locator("#nav")).to_contain_text("4")


def test_the_indicator_says_when_the_page_is_not_live(site: Site, visitor: Callable[..., BrowserContext]) -> None:
    """Offline is said, and what was missed comes when the connection does."""
    context = visitor()
    page = open_page(context, site.url, "/timeline")
    context.set_offline(True)
    expect(page.locator("#live")).to_have_attribute("data-state", "off")
    context.set_offline(False)
    with site.ctx.transactions.begin() as uow:
        uow.record(site.ctx.event("model.aliased", "model/eta@3", "while you were away"))
    expect(page.locator("#list")).to_contain_text("while you were away")
    expect(page.locator("#live")).to_have_attribute("data-state", "live")


def test_a_rollout_is_rolled_back_with_a_reason(site: Site, visitor: Callable[..., BrowserContext]) -> None:
    """The button opens a dialog that states the effect and asks why; the page then tells what happened."""
    watch = Watch(site.url)
    page = open_page(visitor(), site.url, "/deployments/churn", watch)
    page.get_by_role("button", name="Roll back to churn/2").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("All traffic goes to churn/2")
    dialog.get_by_label("Reason").fill("customers complain")
    dialog.get_by_role("button", name="Roll back to churn/2").click()
    expect(page.locator("#verdict")).to_contain_text("Customers complain")
    expect(page.locator("#history")).to_contain_text("Aborted")
    assert not watch.wrong


def test_the_keyboard_is_enough(site: Site, visitor: Callable[..., BrowserContext]) -> None:
    """`/` searches, `g` and a letter goes, `?` helps, j and k walk the rows."""
    page = open_page(visitor(), site.url, "/")
    page.keyboard.press("/")
    page.keyboard.type("churn")
    expect(page.locator("#hits a").first).to_contain_text("churn")
    page.keyboard.press("Enter")
    page.wait_for_url("**/deployments/churn")
    page.wait_for_selector("#live[data-state=live]")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("g")
    page.keyboard.press("r")
    page.wait_for_url("**/runs")
    page.wait_for_selector("#live[data-state=live]")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url("**/runs/*")


def test_the_theme_is_kept(site: Site, visitor: Callable[..., BrowserContext]) -> None:
    """A visitor's choice survives the next page, drawn in it by the server."""
    page = open_page(visitor(), site.url, "/monitors/fraud")
    page.get_by_role("button", name="Switch between light and dark").click()
    assert page.locator("html").get_attribute("data-theme") == "dark"
    page.goto(site.url + "/runs")
    assert page.locator("html").get_attribute("data-theme") == "dark"
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(13, 16, 21)"


def test_charts_can_be_read_as_tables(site: Site, visitor: Callable[..., BrowserContext]) -> None:
    """Each chart draws, and opens as a table."""
    page = open_page(visitor(), site.url, "/monitors/fraud")
    expect(page.locator(".chart canvas")).to_have_count(3)
    page.locator("#chart-loss summary").click()
    expect(page.locator("#chart-loss table")).to_contain_text("15 Oct")


def test_pages_work_without_what_npm_gives(
    house: Context, visitor: Callable[..., BrowserContext], tmp_path: Path
) -> None:
    """Without Node at build time there are no charts and nothing is live; all else is there, and nothing fails."""
    for name in ("app.css", "app.js", "charts.js"):
        shutil.copyfile(FOLDER / name, tmp_path / name)
    with Server(Starlette(routes=list(dashboard(house, static=tmp_path)))) as url:
        watch = Watch(url)
        page = visitor().new_page()
        watch.on(page)
        page.goto(url + "/deployments/churn")
        page.wait_for_load_state("networkidle")
        expect(page.locator("#verdict")).to_contain_text("churn@3 takes 25 %")
        page.get_by_role("button", name="Pause").click()
        expect(page.get_by_role("dialog")).to_be_visible()
    assert not watch.wrong
