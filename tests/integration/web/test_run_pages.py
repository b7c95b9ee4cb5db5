"""The run table, and runs side by side."""

import io
import re
from urllib.parse import quote

import pytest
from starlette.testclient import TestClient

import webhouse
from tournant.domain.environment import Environment
from tournant.domain.logged_models import LoggedModel
from tournant.domain.tracking import DatasetInput, Experiment, Metric, Run, RunStatus
from tournant.services.artifacts import put_artifact
from tournant.services.context import Context


def ident(number: int) -> str:
    return webhouse.ident("many", number)


def add_run(house: Context, number: int, *, curve: int = 0, **values: object) -> Run:
    """Add a run of the experiment `many` with a metric or two."""
    with house.transactions.begin() as uow:
        if uow.get(Experiment, 9) is None:
            uow.add(Experiment(number=9, name="many", created_at=0.0, updated_at=0.0))
        given: dict[str, object] = {
            "id": ident(number),
            "experiment": "many",
            "experiment_number": 9,
            "name": f"many {number}",
            "status": RunStatus.SUCCESSFUL,
            "started_at": webhouse.NOW - 100,
            "ended_at": webhouse.NOW - 90 + number,
            "params": {"depth": str(number % 3), "seed": "7"},
        }
        run = uow.runs.add(Run(**given | values))  # type: ignore[arg-type]
        points = [Metric(run=run.id, key="auc", step=0, time=run.started_at, value=number / 100)]
        points += [
            Metric(run=run.id, key="loss", step=step, time=run.started_at + step, value=1 / (1 + step) + number)
            for step in range(curve)
        ]
        uow.runs.log(run.id, metrics=points)
    return run


def columns(view: dict[str, object]) -> list[str]:
    return [column["id"] for column in view["columns"]]  # type: ignore[attr-defined,index]


def test_columns_are_chosen_in_the_address(client: TestClient, house: Context) -> None:
    """Metrics, params, tags and attributes, in the order asked for; links and the filter's form go on with them."""
    add_run(house, 1, tags={"team": "risk"})
    asked = "/runs.json?experiment=many&col=tags.team&col=metrics.auc&col=attributes.by"
    assert columns(client.get(asked).json()) == ["tags.team", "metrics.auc", "attributes.by"]
    text = client.get(asked.replace(".json", "")).text
    assert ">risk<" in text
    assert '<input type="hidden" name="col" value="tags.team">' in text
    assert "order=metrics.auc+DESC&amp;col=tags.team&amp;col=metrics.auc" in text


def test_columns_are_remembered_where_they_fit(client: TestClient, house: Context) -> None:
    """Without columns in the address those of the cookie are shown, unless these runs have none of them."""
    add_run(house, 1)
    client.cookies.set("tournant_columns", quote("col=metrics.auc&col=params.depth&col=attributes.status"))
    many = client.get("/runs.json?experiment=many").json()
    assert columns(many) == ["metrics.auc", "params.depth", "attributes.status"]
    client.cookies.set("tournant_columns", quote("col=metrics.unknown&col=colour"))
    assert "params.max_iter" in columns(client.get("/runs.json?experiment=Default").json())


def test_headers_sort_and_turn_round(client: TestClient, house: Context) -> None:
    """A header's link orders by its column, numbers the highest first; the next click turns it round."""
    for number in (3, 1, 2):
        add_run(house, number)
    sort = re.compile(r'aria-sort="(\w+)"><a class="sort" href="([^"]+)" title="Sort by metrics.auc"')
    page = client.get("/runs?experiment=many&col=metrics.auc").text
    first = re.search(r'href="([^"]+)" title="Sort by metrics.auc"', page)
    assert first
    address = first[1].replace("&amp;", "&")
    assert [run["name"] for run in client.get(address.replace("?", ".json?")).json()["runs"]] == [
        "many 3",
        "many 2",
        "many 1",
    ]
    now, turned = sort.findall(client.get(address).text)[0]
    assert now == "descending"
    assert client.get(turned.replace("&amp;", "&").replace("?", ".json?")).json()["runs"][0]["name"] == "many 1"


def test_runs_of_one_instant_are_all_paged(client: TestClient, house: Context) -> None:
    """120 runs that started at once: each is shown once, whatever the order."""
    for number in range(120):
        add_run(house, number)
    for order in ("", "metrics.auc ASC", "params.depth DESC", "run_name ASC"):
        seen: list[str] = []
        address = f"/runs?experiment=many&order={order}"
        while address:
            view = client.get(address.replace("/runs", "/runs.json")).json()
            seen += [run["id"] for run in view["runs"]]
            address = view["older"]
        assert sorted(seen) == [ident(number) for number in range(120)], order


def test_a_filter_that_cannot_be_read_stays_in_its_box(client: TestClient) -> None:
    """400, with the place, and the text to be mended; as JSON it is an error."""
    answer = client.get("/runs?filter=metrics.auc %3E 'x'")
    assert answer.status_code == 400
    assert "at character 15" in answer.text and 'value="metrics.auc &gt; &#39;x&#39;"' in answer.text
    assert client.get("/runs.json?filter=metrics.").json()["error"]["code"] == "invalid"


def test_runs_stand_side_by_side(client: TestClient, house: Context) -> None:
    """What differs is apart from what is the same; numbers say by how much, and whether that is better."""
    add_run(house, 1, curve=3)
    add_run(house, 2, curve=5)
    view = client.get(f"/runs/compare.json?ids={ident(1)},{ident(2)}").json()
    tables = {table["title"]: table for table in view["tables"]}
    auc = next(row for row in tables["Metrics"]["differing"] if row["name"] == "auc")
    assert [(cell["text"], cell["note"], cell["better"]) for cell in auc["cells"]] == [
        ("0.01", "", None),
        ("0.02", "+0.01", True),
    ]
    assert [row["name"] for row in tables["Params"]["differing"]] == ["depth"]
    assert [row["name"] for row in tables["Params"]["same"]] == ["seed"]
    assert [(chart["key"], chart["runs"]) for chart in view["charts"]] == [("loss", [ident(1), ident(2)])]
    assert view["command"] == f"tournant runs diff {ident(1)} {ident(2)}"
    page = client.get(f"/runs/compare?ids={ident(1)}&ids={ident(2)}&base={ident(2)}").text
    assert page.index("many 2") < page.index("many 1")
    alone = client.get(f"/runs/compare.json?ids={ident(1)},{ident(2)}&without={ident(1)}").json()
    assert [run["name"] for run in alone["runs"]] == ["many 2"] and "stands alone" in alone["verdict"]["head"]


def test_code_environment_and_data_are_compared(client: TestClient, house: Context, tmp_path: object) -> None:
    """The lines of code that differ, the packages that differ, and the datasets' versions and digests."""
    codes = []
    for version in (1, 2):
        folder = tmp_path / f"code{version}"  # type: ignore[operator]
        folder.mkdir()
        (folder / "train.py").write_text(f"import numpy\ndepth = {version}\n")
        (folder / "same.py").write_text("same = True\n")
        (folder / f"only{version}.bin").write_bytes(b"\0\1")
        codes.append(house.blobs.put_tree(folder).digest)
    locks = ["numpy==1.0 --hash=sha256:0\nscipy==1.1\n", "numpy==2.0 --hash=sha256:0\nscipy==1.1\n"]
    with house.transactions.begin() as uow:
        for number, lock in enumerate(locks):
            uow.save(Environment(digest=f"{number}e" * 32, python="3.12", lock=lock))
    for number in (0, 1):
        add_run(house, number, code=codes[number], environment=f"{number}e" * 32, datasets=(f"fraud@{number + 1}",))
    with house.transactions.begin() as uow:
        uow.save(DatasetInput(run=ident(0), name="wine", digest="abc", context="training"))
    view = client.get(f"/runs/compare.json?ids={ident(0)},{ident(1)}").json()["surroundings"]
    changes = {file["path"]: (file["change"], file["lines"]) for file in view["code"][0]["files"]}
    assert set(changes) == {"train.py", "only1.bin", "only2.bin"}
    assert changes["train.py"] == ("changed", ["@@ -1,2 +1,2 @@", " import numpy", "-depth = 1", "+depth = 2"])
    assert changes["only1.bin"] == ("removed", [])
    (row,) = view["packages"]["differing"]
    assert (row["name"], [cell["text"] for cell in row["cells"]]) == ("numpy", ["1.0", "2.0"])
    data = {row["name"]: [cell["text"] for cell in row["cells"]] for row in view["datasets"]["differing"]}
    assert data == {"fraud": ["fraud@1", "fraud@2"], "wine (training)": ["abc", "–"]}
    assert "depth = 2" in client.get(f"/runs/compare?ids={ident(0)},{ident(1)}").text


def test_requirements_of_logged_models_are_compared(client: TestClient, house: Context) -> None:
    """What MLflow keeps beside a model tells the environment: of a logged model, and of one among a run's artifacts."""
    for number in (0, 1):
        add_run(house, number, artifact_location=f"mlflow-artifacts:/9/{ident(number)}/artifacts")
    model = {"id": "m-1", "experiment": 9, "name": "tree", "created_at": 0.0, "updated_at": 0.0, "run": ident(0)}
    with house.transactions.begin() as uow:
        uow.save(LoggedModel(**model, artifact_location="mlflow-artifacts:/9/models/m-1/artifacts"))  # type: ignore[arg-type]
    put_artifact(house, "9/models/m-1/artifacts/requirements.txt", io.BytesIO(b"mlflow==3.1\nnumpy==1.0\n"))
    put_artifact(house, f"9/{ident(1)}/artifacts/model/requirements.txt", io.BytesIO(b"mlflow==3.1\nnumpy==2.0\n"))
    view = client.get(f"/runs/compare.json?ids={ident(0)},{ident(1)}").json()["surroundings"]
    rows = {row["name"]: [cell["text"] for cell in row["cells"]] for row in view["packages"]["differing"]}
    assert rows == {"numpy": ["1.0", "2.0"]}


def test_code_that_is_not_here_any_more_is_said(client: TestClient, house: Context) -> None:
    """A snapshot whose content was removed does not break the page."""
    add_run(house, 0, code="a" * 64)
    add_run(house, 1, code="b" * 64)
    answer = client.get(f"/runs/compare?ids={ident(0)},{ident(1)}")
    assert answer.status_code == 200 and "cannot be read" in answer.text


def test_comparing_says_what_is_wrong(client: TestClient, house: Context) -> None:
    """None chosen, unknown ones, too many."""
    add_run(house, 1)
    assert "No run is chosen" in client.get("/runs/compare").text
    assert client.get("/runs/compare?ids=nobody").status_code == 404
    assert "Not found any more: nobody" in client.get(f"/runs/compare?ids={ident(1)},nobody").text
    many = ",".join(ident(number) for number in range(101))
    assert "at most 100" in client.get(f"/runs/compare?ids={many}").text


def test_a_hundred_runs_are_compared(client: TestClient, house: Context) -> None:
    """100 runs in one page, and their curves in one answer of bounded size."""
    for number in range(100):
        add_run(house, number, curve=300)
    ids = ",".join(ident(number) for number in range(100))
    view = client.get(f"/runs/compare.json?ids={ids}").json()
    assert len(view["runs"]) == 100 and len(view["tables"][0]["differing"][0]["cells"]) == 100
    curves = client.get(f"/runs/curves.json?ids={ids}&key=loss").json()["curves"]["loss"]
    assert len(curves) == 100
    assert all(curve["steps"][0] == 0 and curve["steps"][-1] == 299 for curve in curves)
    assert sum(len(curve["steps"]) for curve in curves) <= 26_000


def test_what_was_logged_without_steps_is_a_curve_too(client: TestClient, house: Context) -> None:
    """Several points at step 0, at different times; a metric with one point is none."""
    run = add_run(house, 1)
    add_run(house, 2)
    with house.transactions.begin() as uow:
        points = [Metric(run=run.id, key="loss", step=0, time=run.started_at + i, value=1.0 - i / 9) for i in range(5)]
        uow.runs.log(run.id, metrics=points)
    for address in (f"/runs/{run.id}.json", f"/runs/compare.json?ids={ident(2)},{run.id}"):
        assert [chart["key"] for chart in client.get(address).json()["charts"]] == ["loss"]
    (curve,) = client.get(f"/runs/curves.json?ids={run.id}&key=loss").json()["curves"]["loss"]
    assert curve["times"] == [0, 1, 2, 3, 4]


def test_curves_keep_peaks_and_gaps(client: TestClient, house: Context) -> None:
    """A long history keeps its lowest and highest values, its ends, and where it was no number."""
    run = add_run(house, 1)
    points = [
        Metric(run=run.id, key="loss", step=step, time=run.started_at + step, value=float("nan") if step == 5 else 0.5)
        for step in range(2000)
    ]
    points[777] = Metric(run=run.id, key="loss", step=777, time=run.started_at + 777, value=9.0)
    with house.transactions.begin() as uow:
        uow.runs.log(run.id, metrics=points)
    (curve,) = client.get(f"/runs/curves.json?ids={run.id}&key=loss").json()["curves"]["loss"]
    assert len(curve["steps"]) <= 602 and curve["steps"] == sorted(curve["steps"])
    assert curve["values"][curve["steps"].index(777)] == 9.0
    assert curve["times"][-1] == pytest.approx(1999)
    short = client.get(f"/runs/curves.json?ids={ident(1)}&key=auc&key=loss").json()["curves"]
    assert set(short) == {"auc", "loss"}
    assert client.get(f"/runs/curves.json?ids={ident(1)}").status_code == 400


@pytest.mark.parametrize(
    "address",
    [
        "/runs?offset=nan",
        "/runs?offset=-1",
        "/runs?offset=99999999999999999999&order=run_name",
        "/runs?experiment=a%00b",
        "/runs?after=%00",
        "/runs?col=metrics.",
        "/runs?col=attributes.depth",
        "/runs?order=metrics.auc%20UPWARDS",
        "/runs?" + "&".join(f"col=metrics.m{n}" for n in range(41)),
        "/runs/curves.json?ids=%00&key=a",
        "/runs/curves.json?ids=a&key=%00",
        "/runs/curves.json?ids=a&" + "&".join(f"key=m{n}" for n in range(13)),
    ],
)
def test_bad_addresses_are_explained(client: TestClient, address: str) -> None:
    """400 with a reason, never an error of ours."""
    assert client.get(address).status_code == 400
