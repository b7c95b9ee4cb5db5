"""Labels one by one, in batches and as files."""

import duckdb
import pytest

from tournant.domain.deployment import DeploymentConfig, LabelConfig
from tournant.domain.predictions import Label, LabelState
from tournant.errors import Invalid, NotFound
from tournant.services.deployments import create_deployment
from tournant.services.label_files import read_label_file
from tournant.services.labels import GivenLabel, add_labels


@pytest.fixture
def ctx(world):
    """A house with the deployment `d`, whose label is called `late`."""
    create_deployment(world.ctx, "d", config=DeploymentConfig(labels=LabelConfig(column="late")))
    return world.ctx


def stored(ctx):
    with ctx.transactions.begin(write=False) as uow:
        return {label.reference: label for label in uow.find(Label)}


def test_labels_are_pending_until_their_prediction_is_found(ctx):
    """By prediction id or by the user's key."""
    given = [GivenLabel(prediction_id="p1", value=1, event_time=5.0), GivenLabel(key="AA1", value=0)]
    assert add_labels(ctx, "d", given) == 2
    labels = stored(ctx)
    assert labels["p1"].event_time == 5.0 and labels["key:AA1"].event_time == ctx.clock.now()
    assert {label.state for label in labels.values()} == {LabelState.PENDING}


def test_last_label_of_a_prediction_wins(ctx):
    """Labels get corrected; the same again is no change, so it is not looked at twice."""
    add_labels(ctx, "d", [GivenLabel(key="k", value=0, event_time=5.0)])
    first = stored(ctx)["key:k"]
    ctx.clock.time += 10
    add_labels(ctx, "d", [GivenLabel(key="k", value=0, event_time=5.0)])
    assert stored(ctx)["key:k"] == first
    add_labels(ctx, "d", [GivenLabel(key="k", value=0, event_time=5.0), GivenLabel(key="k", value=1, event_time=6.0)])
    assert (stored(ctx)["key:k"].value, stored(ctx)["key:k"].received_at) == (1.0, ctx.clock.now())


@pytest.mark.parametrize(
    "bad",
    [
        GivenLabel(value=1.0),
        GivenLabel(value=1.0, prediction_id="p", key="k"),
        GivenLabel(value=float("nan"), key="k"),
        GivenLabel(value=1.0, key="k" * 600),
        GivenLabel(value=1.0, key="k", event_time=float("inf")),
    ],
)
def test_malformed_label_is_named_and_nothing_is_stored(ctx, bad):
    """All or none, with the index."""
    with pytest.raises(Invalid, match="label 1") as caught:
        add_labels(ctx, "d", [GivenLabel(key="fine", value=1.0), bad])
    assert caught.value.place.startswith("labels[1]")
    assert stored(ctx) == {}


def test_unknown_deployment_is_not_found(ctx):
    """Not accepted as pending."""
    with pytest.raises(NotFound, match="there is: d"):
        add_labels(ctx, "nope", [GivenLabel(key="k", value=1.0)])


def test_files_of_all_kinds_give_the_same_labels(ctx, tmp_path):
    """CSV, NDJSON and Parquet; the label under its own name; times as seconds or ISO 8601."""
    (tmp_path / "a.csv").write_text("key,late,event_time\nx,1,2013-01-02T00:00:00Z\ny,0,\n")
    (tmp_path / "b.ndjson").write_text(
        '{"key": "x", "value": true, "event_time": 1357084800}\n\n{"key": "y", "value": 0}'
    )
    parquet = str(tmp_path / "c.parquet")
    duckdb.sql(
        "select * from (values ('x', 1, timestamp '2013-01-02'), ('y', 0, null)) t(key, label, event_time)"
    ).write_parquet(parquet)
    seen = []
    for name in ("a.csv", "b.ndjson", "c.parquet"):
        assert add_labels(ctx, "d", read_label_file(tmp_path / name, "late")) == 2
        seen.append({(label.reference, label.value, label.event_time) for label in stored(ctx).values()})
    assert seen[0] == seen[1] == seen[2] == {("key:x", 1.0, 1357084800.0), ("key:y", 0.0, ctx.clock.now())}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "key,late\nx,1\ny,maybe\n", "a.csv, row 2: the label 'maybe' is no number"),
        ("a.csv", "key,other\nx,1\n", "row 1 has no label"),
        ("a.csv", "late\n1\n", "neither prediction_id nor key"),
        ("a.csv", "key,late,event_time\nx,1,yesterday\n", "neither seconds nor ISO 8601"),
        ("a.ndjson", '{"key": "x", "value": 1}\n{"key"', "a.ndjson:2 is no JSON object"),
        ("a.parquet", "no parquet", "is no Parquet file"),
        ("a.txt", "", "labels come as"),
    ],
)
def test_bad_file_is_named_with_its_row_and_nothing_is_stored(ctx, tmp_path, name, content, message):
    """The whole file is read first."""
    (tmp_path / name).write_text(content)
    with pytest.raises(Invalid, match=message):
        add_labels(ctx, "d", read_label_file(tmp_path / name, "late"))
    assert stored(ctx) == {}
