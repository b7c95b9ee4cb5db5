"""Every page of the dashboard over a furnished and over an empty house."""

import gzip
import re

import pytest
from starlette.testclient import TestClient

import webhouse

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
LISTS = ("/", "/models", "/runs", "/datasets", "/deployments", "/monitors", "/alerts", "/retrainings", "/timeline")


def json_address(address: str) -> str:
    """Give a page's address as JSON."""
    path, _, query = address.partition("?")
    return f"{path}.json" + (f"?{query}" if query else "")


def test_every_page_answers_under_the_policy_with_a_verdict(client: TestClient) -> None:
    """Each page: 200, the strict policy, a verdict sentence, the command that gives the same, no inline script or style."""
    for address in webhouse.addresses():
        answer = client.get(address)
        assert answer.status_code == 200, (address, answer.text[-400:])
        assert answer.headers["content-security-policy"] == POLICY, address
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert re.search(r'<div class="verdict (ok|prog|warn|crit|idle)" id="verdict">', answer.text), address
        assert "tournant " in answer.text, address
        assert " style=" not in answer.text, address
        assert not re.search(r"<script(?![^>]* src=)|\son[a-z]+=", answer.text), address


def test_every_page_has_its_data_as_json(client: TestClient) -> None:
    """The same address with `.json` gives the view."""
    for address in webhouse.addresses():
        answer = client.get(json_address(address))
        assert answer.status_code == 200, address
        assert answer.json()["title"], address


def test_names_are_escaped(client: TestClient) -> None:
    """A run named like a script is text on every page that shows it."""
    for address in ("/runs", f"/runs/{webhouse.ident('fraud', 1)}", "/search?q=script", "/models/fraud/versions/1"):
        text = client.get(address).text
        assert webhouse.FORGED not in text, address
    assert "&lt;script&gt;" in client.get("/runs").text


def test_every_list_says_what_to_do_in_an_empty_house(empty_client: TestClient) -> None:
    """An empty page is one sentence and a snippet to copy."""
    for address in LISTS:
        answer = empty_client.get(address)
        assert answer.status_code == 200, address
        assert 'class="card empty"' in answer.text and "data-copy=" in answer.text, address
        assert empty_client.get(json_address(address)).status_code == 200


def test_the_overview_names_the_worst_first(client: TestClient) -> None:
    """The verdict names the failing deployment; a deployment without labels is never called healthy."""
    view = client.get("/.json").json()
    assert view["verdict"]["tone"] == "crit"
    assert view["verdict"]["head"] == "fraud is failing."
    assert "led by" in view["verdict"]["text"]
    statuses = {health["deployment"]: health["status"] for health in view["deployments"]}
    assert statuses == {"fraud": "failing", "support": "no_labels", "churn": "healthy", "eta": "healthy"}
    assert {need["subject"] for need in view["needs"]} == {"fraud", "support"}


def test_a_deployment_in_canary_shows_split_steps_and_waiting_gate(client: TestClient) -> None:
    """What takes which share, which step it is in, and which gate waits."""
    view = client.get("/deployments/churn.json").json()
    assert [(share["role"], share["percent"]) for share in view["split"]] == [("stable", 75.0), ("canary", 25.0)]
    assert [step["state"] for step in view["steps"]] == ["done", "done", "done", "now", "todo", "todo"]
    assert view["verdict"]["head"] == "churn@3 takes 25 % of traffic and passes 3 of 4 gates."
    assert "412 of 1,500" in view["verdict"]["text"]
    promote = next(action for action in view["actions"] if action["verb"] == "promote")
    assert "412 of 1,500" in promote["locked"]


def test_a_rolled_back_rollout_says_why(client: TestClient) -> None:
    """The failing gate comes first, with value, interval and limit in the verdict."""
    view = client.get(f"/deployments/fraud/rollouts/{webhouse.ident('rfraud', 3)}.json").json()
    assert view["verdict"]["tone"] == "crit"
    assert "rolled back at 5 %" in view["verdict"]["head"]
    assert "+0.073 (interval +0.041 to +0.105) > +0.02" in view["verdict"]["text"]
    assert view["gates"][0]["name"] == "Loss"
    past = client.get("/deployments/fraud.json").json()["past"]
    assert "+0.073" in past[0]["why"]


def test_monitors_show_moved_columns_first(client: TestClient) -> None:
    """Columns are ordered by how far they moved; the untouched ones did not drift."""
    view = client.get("/monitors/fraud.json").json()
    names = [row["drift"]["name"] for row in view["columns"]]
    assert set(names[:2]) == {"amount", "merchant_country"}
    quality = next(chart for chart in view["charts"] if chart["id"] == "loss")
    assert quality["limit"] == pytest.approx(0.32)
    assert "unknown" in client.get("/monitors/support.json").json()["verdict"]["head"]


def test_lineage_leads_from_data_to_deployment(client: TestClient) -> None:
    """A version page links dataset, run and deployment, with commit and environment."""
    text = client.get("/models/fraud/versions/2").text
    for part in ('href="/datasets/fraud@2"', "/runs/", 'href="/deployments/fraud"', "2a7f3c9", "Python 3.11"):
        assert part in text, part


def test_runs_show_only_params_that_vary(client: TestClient) -> None:
    """A constant param is no column."""
    view = client.get("/runs.json").json()
    assert [c["key"] for c in view["columns"] if c["kind"] == "params"] == ["max_iter"]
    assert view["constant"] == {"learning_rate": "0.05", "seed": "7"}


def test_filters_that_match_nothing_can_be_cleared(client: TestClient) -> None:
    """No match: the filter and a way back."""
    for address in ("/runs?status=failed", "/timeline?kind=gateway", "/retrainings?deployment=nobody"):
        answer = client.get(address)
        assert answer.status_code == 200
        assert "Nothing matches this filter" in answer.text and "Clear" in answer.text


def test_unknown_things_get_the_error_page(client: TestClient) -> None:
    """404 for pages and records that do not exist, 400 for a query that cannot be asked; the policy holds there too."""
    for address, status in (
        ("/nothing/here", 404),
        ("/deployments/nobody", 404),
        ("/models/fraud/versions/9", 404),
        ("/models/fraud/versions/x", 404),
        ("/datasets/fraud@9", 404),
        ("/deployments/eta/rollouts/" + webhouse.ident("rfraud", 3), 404),
        ("/?since=forever", 400),
        ("/runs?after=nobody", 404),
        ("/runs?col=colour", 400),
        ("/runs?filter=metrics.", 400),
        ("/runs?status=odd", 400),
    ):
        answer = client.get(address)
        assert answer.status_code == status, address
        assert answer.headers["content-security-policy"] == POLICY
        assert 'id="verdict"' in answer.text
    assert client.get("/deployments/nobody.json").json()["error"]["code"] == "not_found"


def test_search_finds_by_name(client: TestClient) -> None:
    """A few letters find deployments, models and runs."""
    text = client.get("/search?q=chu").text
    assert 'href="/deployments/churn"' in text and 'href="/models/churn"' in text and "/runs/" in text
    assert "Nothing is named" in client.get("/search?q=zzz").text


def test_files_are_addressed_by_content(client: TestClient) -> None:
    """Pages name files by hash; those may be cached for good, an older page's address may not."""
    page = client.get("/").text
    address = re.search(r'href="(/static/[0-9a-f]{12}/app\.css)"', page)
    assert address
    answer = client.get(address[1])
    assert "immutable" in answer.headers["cache-control"]
    assert answer.headers["content-type"].startswith("text/css")
    assert client.get("/static/000000000000/app.css").headers["cache-control"] == "no-cache"
    assert client.get("/static/000000000000/../../secret").status_code == 404
    assert client.get("/static/000000000000/package.json").status_code == 404


def test_later_pages_are_small(client: TestClient) -> None:
    """A page without its files stays within 15 KB compressed."""
    for address in webhouse.addresses():
        size = len(gzip.compress(client.get(address).content, 6))
        assert size <= 15_000, (address, size)


def test_a_thousand_runs_are_paged_by_keyset(client: TestClient, house: object) -> None:
    """50 rows a page; following `older` shows each run once."""
    from tournant.domain.tracking import Experiment, Run, RunStatus

    with house.transactions.begin() as uow:  # type: ignore[attr-defined]
        uow.add(Experiment(number=9, name="many", created_at=0.0, updated_at=0.0))
        for i in range(120):
            uow.runs.add(
                Run(
                    id=webhouse.ident("many", i),
                    experiment="many",
                    experiment_number=9,
                    name=f"many {i}",
                    status=RunStatus.SUCCESSFUL,
                    started_at=webhouse.NOW - i,
                )
            )
    seen: list[str] = []
    address = "/runs?experiment=many"
    while address:
        view = client.get(json_address(address)).json()
        seen += [run["name"] for run in view["runs"]]
        address = view["older"]
    assert seen == [f"many {i}" for i in range(120)]
