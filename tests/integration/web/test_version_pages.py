"""Versions of a model side by side."""

from dataclasses import replace

import pytest
from starlette.testclient import TestClient

import webhouse
from tournant.domain.environment import Environment
from tournant.domain.registry import Column, ColumnType, ModelVersion
from tournant.services.context import Context


def change(house: Context, version: str, **changes: object) -> None:
    with house.transactions.begin() as uow:
        found = uow.get(ModelVersion, version)
        assert found
        uow.save(replace(found, **changes))  # type: ignore[arg-type]


def rows(view: dict[str, object], title: str) -> dict[str, list[str]]:
    """Give what differs in a table: the texts by name."""
    (table,) = (table for table in view["tables"] if table["title"] == title)  # type: ignore[attr-defined,index]
    return {row["name"]: [cell["text"] for cell in row["cells"]] for row in table["differing"]}


def test_versions_stand_side_by_side(client: TestClient) -> None:
    """Metrics with their direction, params of their runs, data and commits; in the order asked for."""
    view = client.get("/models/fraud/compare.json?versions=3,1").json()
    assert [column["name"] for column in view["columns"]] == ["fraud@3", "fraud@1"]
    assert rows(view, "Params") == {"max_iter": ["300", "100"]}
    assert rows(view, "Metrics")["auroc"] == ["0.83", "0.81"]
    loss = next(row for row in view["tables"][0]["differing"] if row["name"] == "log_loss")
    assert loss["cells"][1]["better"] is False
    assert rows(view, "About")["Conversion"] == [
        "rejected, largest difference 0.52",
        "successful, largest difference 4.00e−07",
    ]
    data = view["surroundings"]["datasets"]["differing"]
    assert [cell["text"] for cell in data[0]["cells"]] == ["fraud@3", "fraud@1"]
    assert view["verdict"]["head"] == "2 versions differ in 3 metrics and 1 param."
    assert "Also different: commit, data." in view["verdict"]["text"]
    turned = client.get("/models/fraud/compare.json?versions=1&versions=3&versions=2&base=3&without=2").json()
    assert [version["number"] for version in turned["versions"]] == [3, 1]


def test_a_changed_signature_is_a_warning(client: TestClient, house: Context) -> None:
    """What one version takes and another does not stands in the verdict."""
    with house.transactions.begin(write=False) as uow:
        version = uow.get(ModelVersion, "fraud@2")
    assert version
    inputs = (*version.signature.inputs[1:], Column(name="weight", type=ColumnType.NUMBER, nullable=True))
    change(house, "fraud@2", signature=replace(version.signature, inputs=inputs))
    view = client.get("/models/fraud/compare.json?versions=1,2").json()
    assert rows(view, "Signature") == {"amount": ["number", "–"], "weight": ["–", "number, may be missing"]}
    assert view["verdict"]["tone"] == "warn" and "amount, weight" in view["verdict"]["note"]


def test_code_and_environment_are_compared(client: TestClient, house: Context, tmp_path: object) -> None:
    """Lines and packages that differ."""
    for number in (1, 2):
        folder = tmp_path / str(number)  # type: ignore[operator]
        folder.mkdir()
        (folder / "train.py").write_text(f"depth = {number}\n")
        with house.transactions.begin() as uow:
            uow.save(Environment(digest=f"{number}9" * 32, python="3.12", lock=f"numpy==2.{number}\n"))
        change(house, f"fraud@{number}", code=house.blobs.put_tree(folder).digest, environment=f"{number}9" * 32)
    view = client.get("/models/fraud/compare.json?versions=1,2").json()["surroundings"]
    assert view["code"][0]["files"][0]["lines"] == ["@@ -1 +1 @@", "-depth = 1", "+depth = 2"]
    assert [cell["text"] for cell in view["packages"]["differing"][0]["cells"]] == ["2.1", "2.2"]


def test_without_names_the_newest_are_compared(client: TestClient) -> None:
    """The oldest of the newest three is the base; one alone says so; the model's page leads here."""
    view = client.get("/models/fraud/compare.json").json()
    assert [version["number"] for version in view["versions"]] == [1, 2, 3]
    assert "stands alone" in client.get("/models/fraud/compare?versions=2").text
    assert 'action="/models/fraud/compare"' in client.get("/models/fraud").text


def test_versions_of_runs_with_curves_have_charts(client: TestClient) -> None:
    """The curves of the runs that versions come from."""
    view = client.get("/models/fraud/compare.json?versions=1,2").json()
    assert [(chart["key"], chart["runs"]) for chart in view["charts"]] == [("loss", [webhouse.ident("fraud", 2)])]
    assert [column["line"] for column in view["columns"]] == [0, 1]


@pytest.mark.parametrize(
    ("address", "status", "said"),
    [
        ("/models/fraud/compare?versions=1,9", 404, "no version 9"),
        ("/models/fraud/compare?versions=one", 400, "a version is a number"),
        ("/models/fraud/compare?versions=99999999999999999999", 400, "a version is a number"),
        ("/models/nobody/compare", 404, "no model"),
        ("/models/fraud/compare?versions=" + ",".join(map(str, range(1, 60))), 400, "at most 50"),
    ],
)
def test_comparing_says_what_is_wrong(client: TestClient, address: str, status: int, said: str) -> None:
    """Unknown, unreadable and too many versions."""
    answer = client.get(address)
    assert answer.status_code == status and said in answer.text
