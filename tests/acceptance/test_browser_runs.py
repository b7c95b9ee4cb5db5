"""Runs in a real browser: choosing columns, ticking and comparing, curves that grow, artifacts that run nothing."""

import io
from collections.abc import Callable

import pytest
from playwright.sync_api import BrowserContext, Page, expect

import webhouse
from tournant.domain.tracking import Metric, Run, RunStatus
from tournant.services.artifacts import put_artifact
from tournant.services.context import Context

from .browsing import Site, Watch, flaws, open_page

pytestmark = pytest.mark.browser

MANY = 130


def ident(number: int) -> str:
    return webhouse.ident("tuned", number)


@pytest.fixture
def tuned(site: Site) -> Context:
    """Add 130 runs to the house, the newest three with curves, one of them still going on."""
    with site.ctx.transactions.begin() as uow:
        for number in range(MANY):
            last = number == MANY - 1
            run = uow.runs.add(
                Run(
                    id=ident(number),
                    experiment="Default",
                    name=f"tuned {number}",
                    status=RunStatus.RUNNING if last else RunStatus.SUCCESSFUL,
                    started_at=webhouse.NOW - 3600 + number,
                    ended_at=None if last else webhouse.NOW - 1800,
                    params={"depth": str(number % 5), "seed": "7"},
                    tags={"team": "risk"},
                    artifact_location=f"mlflow-artifacts:/0/{ident(number)}/artifacts",
                )
            )
            uow.runs.log(run.id, metrics=[Metric(run=run.id, key="auc", step=0, time=0.0, value=number / MANY)])
            if number >= MANY - 3:
                uow.runs.log(run.id, metrics=points(run, range(50)))
    return site.ctx


def points(run: Run, steps: range) -> list[Metric]:
    return [Metric(run=run.id, key="loss", step=i, time=run.started_at + i, value=1 / (1 + i)) for i in steps]


def ticks(page: Page) -> list[str]:
    return page.eval_on_selector_all("tbody input:checked", "boxes => boxes.map((box) => box.value)")  # type: ignore[no-any-return]


def test_columns_are_chosen_sorted_by_and_remembered(
    site: Site, tuned: Context, visitor: Callable[..., BrowserContext]
) -> None:
    """The menu's choice stands in the address, outlives it, and is taken back; a header sorts."""
    watch = Watch(site.url)
    page = open_page(visitor(), site.url, "/runs?experiment=Default", watch)
    page.locator("details.menu summary").click()
    page.get_by_role("checkbox", name="team").check()
    page.get_by_role("checkbox", name="Duration").uncheck()
    page.get_by_role("button", name="Show").click()
    page.wait_for_url("**col=tags.team**")
    expect(page.get_by_role("columnheader", name="team")).to_be_visible()
    page.goto(site.url + "/runs")
    expect(page.get_by_role("columnheader", name="team")).to_be_visible()
    expect(page.get_by_role("columnheader", name="Duration")).to_have_count(0)
    page.get_by_role("link", name="auc", exact=True).click()
    expect(page.locator("th[aria-sort=descending]")).to_contain_text("auc")
    expect(page.locator("tbody tr").first).to_contain_text(f"tuned {MANY - 1}")
    page.locator("details.menu summary").click()
    page.get_by_role("link", name="Choose for me").click()
    expect(page.get_by_role("columnheader", name="Duration")).to_be_visible()
    assert not watch.wrong


def test_runs_are_ticked_over_pages_and_compared(
    site: Site, tuned: Context, visitor: Callable[..., BrowserContext]
) -> None:
    """Ticks last from page to page and through a live update; by keyboard too; then the runs stand side by side."""
    watch = Watch(site.url)
    page = open_page(visitor(), site.url, "/runs", watch)
    expect(page.get_by_role("button", name="Compare")).to_be_disabled()
    page.get_by_role("checkbox", name=f"Compare tuned {MANY - 1}").check()
    page.get_by_role("link", name="Older").click()
    page.wait_for_selector("#live[data-state=live]")
    page.keyboard.press("j")
    page.keyboard.press("x")
    expect(page.locator("[data-picked]")).to_have_text("2 ticked")
    second = ticks(page)[0]
    page.get_by_role("link", name="First page").click()
    page.wait_for_selector("#live[data-state=live]")
    with tuned.transactions.begin() as uow:
        uow.runs.add(
            Run(
                id=ident(999),
                experiment="Default",
                name="just begun",
                status=RunStatus.RUNNING,
                started_at=webhouse.NOW,
            )
        )
        uow.record(tuned.event("run.created", f"run/{ident(999)}", "just begun"))
    expect(page.locator("#list")).to_contain_text("just begun")
    assert ticks(page) == [ident(MANY - 1)]
    page.keyboard.press("c")
    page.wait_for_url(f"**/runs/compare?ids={ident(MANY - 1)},{second}")
    expect(page.locator("#verdict")).to_contain_text("2 runs differ")
    page.get_by_role("button", name="as base").click()
    expect(page.locator("#runs li").nth(1)).to_contain_text(f"tuned {MANY - 1}")
    page.get_by_role("button", name=f"Leave out tuned {MANY - 1}").click()
    expect(page.locator("#verdict")).to_contain_text("stands alone")
    assert not watch.wrong


@pytest.mark.parametrize(("width", "scheme"), [(1440, "dark"), (768, "light")])
def test_curves_are_smoothed_and_on_log_axes(
    site: Site, tuned: Context, visitor: Callable[..., BrowserContext], width: int, scheme: str
) -> None:
    """The bar's settings stand in the address and come from it; a chart can be read as a table, and by pointing."""
    watch = Watch(site.url)
    ids = ",".join(ident(MANY - n) for n in (1, 2, 3))
    page = open_page(visitor(width=width, scheme=scheme), site.url, f"/runs/compare?ids={ids}&logy=1", watch)
    expect(page.locator("#charts canvas")).to_have_count(1)
    expect(page.get_by_label("log y")).to_be_checked()
    page.get_by_label("Smoothing").fill("0.8")
    page.get_by_label("log x").check()
    page.wait_for_url(f"**ids={ids}&logy=1&smooth=0.8&logx=1")
    expect(page.locator("#charts canvas")).to_have_count(1)
    page.get_by_text("View as table").click()
    expect(page.locator("#charts table")).to_contain_text("0.02")
    page.locator("#charts canvas").scroll_into_view_if_needed()
    page.locator("#charts .chart").hover(position={"x": 200, "y": 90})
    expect(page.locator("#charts .readout")).to_contain_text("tuned")
    assert not watch.wrong + flaws(page)


def test_a_run_grows_on_its_page(site: Site, tuned: Context, visitor: Callable[..., BrowserContext]) -> None:
    """What a program logs shows without reload: the value, the curve, a new metric, an artifact, and the end."""
    watch, run = Watch(site.url), ident(MANY - 1)
    page = open_page(visitor(), site.url, f"/runs/{run}", watch)
    page.evaluate("window.same = true")
    page.get_by_text("View as table").click()
    expect(page.locator("#charts table")).to_contain_text("49")
    with tuned.transactions.begin() as uow:
        found = uow.runs.get(run)
        assert found
        late = Metric(run=run, key="accuracy", step=7, time=found.started_at + 60, value=0.875)
        uow.runs.log(run, metrics=[*points(found, range(50, 61)), late])
    expect(page.locator("#numbers")).to_contain_text("step 60")
    expect(page.locator("#charts canvas")).to_have_count(2)
    expect(page.locator("#charts table").last).to_contain_text("60")
    with tuned.transactions.begin() as uow:
        stepless = [Metric(run=run, key="gap", step=0, time=found.started_at + i, value=i) for i in range(4)]
        uow.runs.log(run, metrics=stepless)
    expect(page.locator("#charts canvas")).to_have_count(3)
    put_artifact(tuned, f"0/{run}/artifacts/notes.md", io.BytesIO(b"# learned"))
    expect(page.locator("#files")).to_contain_text("notes.md")
    assert page.evaluate("window.same") is True and not watch.wrong


def test_a_curve_that_cannot_be_loaded_is_tried_again(
    site: Site, tuned: Context, visitor: Callable[..., BrowserContext]
) -> None:
    """Its frame stays, with what happened and a button."""
    context = visitor()
    context.route("**/runs/curves.json*", lambda route: route.fulfill(status=503, body="{}"))
    page = open_page(context, site.url, f"/runs/{ident(MANY - 2)}")
    expect(page.locator("#charts")).to_contain_text("could not be loaded: the server answered 503")
    context.unroute("**/runs/curves.json*")
    page.get_by_role("button", name="Retry").click()
    expect(page.locator("#charts canvas")).to_have_count(1)


def test_a_page_for_browsers_is_not_run(site: Site, tuned: Context, visitor: Callable[..., BrowserContext]) -> None:
    """A picture with a program in it is shown and does nothing, opened by itself too; a page is text, and a download."""
    program = b"<script>document.title = 'owned'; parent.document.title = 'owned'</script>"
    drawn = b"<svg xmlns='http://www.w3.org/2000/svg' width='80' height='40'>" + program + b"</svg>"
    base = f"/runs/{ident(1)}/artifacts"
    for name, content in (("drawn.svg", drawn), ("page.html", program)):
        put_artifact(tuned, f"0/{ident(1)}/artifacts/{name}", io.BytesIO(content))
    watch = Watch(site.url)
    page = open_page(visitor(), site.url, f"{base}?path=artifacts/drawn.svg", watch)
    expect(page.locator(".picture img")).to_have_js_property("naturalWidth", 80)
    page.goto(f"{site.url}{base}?path=artifacts/page.html")
    expect(page.locator("pre")).to_contain_text("document.title = 'owned'")
    assert not watch.wrong + flaws(page)
    page.goto(f"{site.url}{base}/image?path=artifacts/drawn.svg")
    assert page.title() != "owned"
    page.goto(f"{site.url}{base}?path=artifacts/page.html")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    assert download.value.suggested_filename == "page.html"


def test_versions_are_ticked_and_compared(site: Site, visitor: Callable[..., BrowserContext]) -> None:
    """From the model's page to its versions side by side."""
    watch = Watch(site.url)
    page = open_page(visitor(), site.url, "/models/fraud", watch)
    page.get_by_role("checkbox", name="Compare fraud@1").check()
    page.get_by_role("checkbox", name="Compare fraud@3").check()
    page.get_by_role("button", name="Compare").click()
    page.wait_for_url("**/models/fraud/compare?versions=1,3")
    expect(page.locator("#verdict")).to_contain_text("2 versions differ")
    assert not watch.wrong + flaws(page)
