"""The dashboard in a real browser: each page clean, light, live and usable by keyboard, over a server on loopback."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, expect
from starlette.applications import Starlette

import webhouse
from tournant.domain.alerts import Alert, AlertState
from tournant.services.context import Context
from tournant.services.rollouts import pause_rollout, resume_rollout
from tournant.web.pages import dashboard
from tournant.web.pages.statics import FOLDER

from .browsing import Server, Site, Watch, flaws, open_page

pytestmark = pytest.mark.browser

CHURN = webhouse.ident("rchurn", 3)
FIRST_LOAD_BYTES = 110_000
FIRST_LOAD_REQUESTS = 10
LATER_BYTES = 15_000
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
    found: dict[str, object] = {}
    for address in PAGES:
        watch = Watch(site.url)
        page = open_page(context, site.url, address, watch)
        if wrong := watch.wrong + flaws(page):
            found[address] = wrong
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
