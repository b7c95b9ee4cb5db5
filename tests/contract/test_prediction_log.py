"""What every PredictionLog must do, over the ones there are."""

import math
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

from tournant.adapters.blobs.local import LocalBlobStore
from tournant.adapters.predictions.duckdb import DuckDbPredictionLog
from tournant.domain.predictions import Label, Segment
from tournant.errors import Unavailable

DAY = 86_400.0
SCHEMA = (
    "prediction_id VARCHAR, key VARCHAR, entity VARCHAR, event_time DOUBLE, revision VARCHAR, role VARCHAR, rollout VARCHAR,"
    " epoch BIGINT, score DOUBLE, scores DOUBLE[], error VARCHAR, latency_ms DOUBLE, fallback BOOLEAN,"
    ' "in.carrier" VARCHAR, "in.temp" DOUBLE'
)


def row(number: int, **changes: object) -> dict[str, object]:
    """Give one segment row: prediction `number` at hour `number`, answered by stable."""
    return {
        "prediction_id": f"p{number}",
        "key": f"k{number}",
        "entity": "",
        "event_time": number * 3600.0,
        "revision": "flights/1",
        "role": "stable",
        "rollout": None,
        "epoch": 0,
        "score": 0.25,
        "scores": None,
        "error": None,
        "latency_ms": 1.5,
        "fallback": False,
        "in.carrier": "UA",
        "in.temp": 40.0 + number,
    } | changes


def shadow(number: int, **changes: object) -> dict[str, object]:
    """Give the shadow row of prediction `number`: no inputs of its own."""
    return row(number, revision="flights/2", role="shadow", score=0.5) | {"in.carrier": None, "in.temp": None} | changes


def label(reference: str, value: float = 1.0) -> Label:
    return Label(deployment="flights", reference=reference, value=value, event_time=DAY, received_at=DAY)


class House:
    """A prediction log with a way to write segments."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.blobs = LocalBlobStore(root / "blobs")
        self.log = DuckDbPredictionLog(self.blobs)

    def segment(self, *rows: dict[str, object], schema: str = SCHEMA) -> Segment:
        target = self.root / "segment.parquet"
        with duckdb.connect() as connection:
            connection.execute(f"create table t ({schema})")
            connection.executemany(
                f"insert into t values ({', '.join('?' * len(rows[0]))})", [list(r.values()) for r in rows]
            )
            connection.execute(f"copy t to '{target}' (format parquet)")
        times = [float(str(r["event_time"])) for r in rows]
        return Segment(
            digest=self.blobs.put(target.read_bytes()),
            deployment="flights",
            gateway="g",
            start=min(times),
            end=max(times),
            rows=len(rows),
            size_bytes=target.stat().st_size,
            registered_at=0.0,
        )

    def read(self, path: Path) -> list[tuple[Any, ...]]:
        with duckdb.connect() as connection:
            return connection.execute(f"select * from '{path}'").fetchall()


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def test_outcomes_join_labels_by_prediction_id_and_by_key(house: House) -> None:
    """Either reference finds its prediction; what has no label is NaN."""
    segment = house.segment(row(1), row(2), row(3))
    columns = house.log.outcomes([segment], [label("p1", 0.0), label("key:k2", 1.0)], start=0, end=DAY)
    assert list(columns["prediction_id"]) == ["p1", "p2", "p3"]
    np.testing.assert_array_equal(columns["label"], [0.0, 1.0, np.nan])


def test_outcomes_keep_to_the_half_open_window(house: House) -> None:
    """A prediction at the end belongs to the next unit."""
    segment = house.segment(row(1), row(2), row(3))
    columns = house.log.outcomes([segment], [], start=3600.0, end=3 * 3600.0)
    assert list(columns["prediction_id"]) == ["p1", "p2"]
    assert np.isnan(columns["label"]).all()


def test_shadow_rows_take_the_inputs_of_the_answered_row_of_any_segment(house: House) -> None:
    """A shadow's row has no inputs of its own, and may be in a later segment."""
    segments = [house.segment(row(1)), house.segment(shadow(1))]
    columns = house.log.outcomes(segments, [], start=0, end=DAY, inputs=["temp", "carrier"])
    assert list(columns["role"]) == ["stable", "shadow"]
    assert list(columns["carrier"]) == ["UA", "UA"]
    assert columns["temp"].tolist() == [41.0, 41.0]


def test_missing_values_come_without_masks(house: House) -> None:
    """Null numbers are NaN, null strings empty, a failed row has error set and no score."""
    failed = row(1, score=None, error="boom", key=None) | {"in.carrier": None, "in.temp": None}
    columns = house.log.outcomes([house.segment(failed)], [], start=0, end=DAY, inputs=["carrier", "temp", "absent"])
    assert not any(isinstance(column, np.ma.MaskedArray) for column in columns.values())
    assert columns["error"].tolist() == [True]
    assert (columns["key"][0], columns["carrier"][0], columns["rollout"][0]) == ("", "", "")
    assert all(math.isnan(columns[name][0]) for name in ("score", "temp", "absent"))


def test_a_fallback_gives_both_rows(house: House) -> None:
    """The canary's failure and stable's answer to the same request are both on record."""
    failed = row(1, revision="flights/2", role="canary", score=None, error="boom")
    columns = house.log.outcomes([house.segment(failed, row(1, fallback=True))], [label("p1")], start=0, end=DAY)
    assert list(columns["revision"]) == ["flights/1", "flights/2"]
    assert columns["label"].tolist() == [1.0, 1.0]


def test_no_segments_and_no_labels_give_empty_columns(house: House) -> None:
    """Nothing recorded is no error."""
    columns = house.log.outcomes([], [], start=0, end=DAY, inputs=["temp"])
    assert {len(column) for column in columns.values()} == {0}
    assert house.log.matched([], [label("p1")]) == set()


def test_segments_of_several_signatures_are_read_together(house: House) -> None:
    """A new revision may take another input; earlier rows lack it."""
    wider = house.segment(row(2) | {"in.wind": 3.0}, schema=SCHEMA + ', "in.wind" DOUBLE')
    columns = house.log.outcomes([house.segment(row(1)), wider], [], start=0, end=DAY, inputs=["wind"])
    np.testing.assert_array_equal(columns["wind"], [np.nan, 3.0])


def test_matched_tells_which_labels_met_a_prediction(house: House) -> None:
    """References come back as they were given."""
    labels = [label("p1"), label("key:k2"), label("p9"), label("key:k9"), label("key:")]
    assert house.log.matched([house.segment(row(1), row(2))], labels) == {"p1", "key:k2"}


def test_freeze_writes_the_base_then_the_labelled_answered_rows(house: House) -> None:
    """Unlabelled, failed and shadow rows stay out; the base's types win."""
    base, target = house.root / "base.parquet", house.root / "frozen.parquet"
    with duckdb.connect() as connection:
        connection.execute(
            f"copy (select 'AA' as carrier, 30::integer as temp, true as late, -1.0::double as event_time, 'x' as tail)"
            f" to '{base}' (format parquet)"
        )
    failed = row(3, revision="flights/2", role="canary", score=None, error="boom")
    segment = house.segment(row(2), row(1), shadow(1), failed, row(4))
    rows = house.log.freeze(
        base,
        [segment],
        [label("p1", 0.0), label("key:k2"), label("p3"), label("p4", math.nan)],
        target,
        start=-DAY,
        end=DAY,
        label_column="late",
        inputs=["carrier", "temp"],
    )
    assert rows == 3
    assert house.read(target) == [
        ("AA", 30.0, True, -1.0, "x", None),
        ("UA", 41.0, False, 3600.0, None, "k1"),
        ("UA", 42.0, True, 7200.0, None, "k2"),
    ]


def test_freeze_takes_no_row_twice_where_base_and_log_overlap(house: House) -> None:
    """The log's rows begin at `log_start`, the base's at `start`."""
    base, target = house.root / "base.parquet", house.root / "frozen.parquet"
    with duckdb.connect() as connection:
        connection.execute(
            f"copy (select 41.0 as temp, 1.0 as late, 3600.0 as event_time) to '{base}' (format parquet)"
        )
    house.log.freeze(
        base,
        [house.segment(row(1), row(2))],
        [label("p1"), label("p2")],
        target,
        start=-math.inf,
        end=DAY,
        label_column="late",
        inputs=["temp"],
        log_start=math.nextafter(3600.0, math.inf),
    )
    assert [r[2] for r in house.read(target)] == [3600.0, 7200.0]


def test_freezing_twice_gives_the_same_bytes(house: House) -> None:
    """A frozen dataset version has one digest, whatever order segments and labels came in."""
    segments = [house.segment(*(row(n) for n in range(1, 12))), house.segment(*(row(n) for n in range(12, 24)))]
    labels = [label(f"p{n}", n % 2) for n in range(24)]
    for target, order in (("a", 1), ("b", -1)):
        house.log.freeze(
            None,
            segments[::order],
            labels[::order],
            house.root / target,
            start=0,
            end=DAY,
            label_column="late",
            inputs=["carrier", "temp"],
        )
    assert (house.root / "a").read_bytes() == (house.root / "b").read_bytes()


def test_a_timestamp_base_gets_timestamps(house: House) -> None:
    """Where the base's event_time is a timestamp, the log's seconds become one, and the window holds for both."""
    base, target = house.root / "base.parquet", house.root / "frozen.parquet"
    with duckdb.connect() as connection:
        connection.execute(
            "copy (select 1.5 as temp, 1.0 as late, timestamp '1970-01-01 00:00:00' + i * interval 1 day as event_time"
            f" from range(3) r(i)) to '{base}' (format parquet)"
        )
    house.log.freeze(
        base,
        [house.segment(row(30))],
        [label("p30")],
        target,
        start=DAY,
        end=2 * DAY,
        label_column="late",
        inputs=["temp"],
    )
    assert [str(r[2]) for r in house.read(target)] == ["1970-01-02 00:00:00", "1970-01-02 06:00:00"]


def test_a_sample_is_deterministic_and_in_event_time_order(house: House) -> None:
    """The same seed draws the same rows, sorted by time; a limit above the rows gives them all."""
    target = house.root / "rows.parquet"
    with duckdb.connect() as connection:
        connection.execute(
            f"copy (select 1000.0 - i as event_time, i as x from range(1000) r(i)) to '{target}' (format parquet)"
        )
    one, two = house.log.sample(target, 50, seed=3), house.log.sample(target, 50, seed=3)
    assert one["x"].tolist() == two["x"].tolist()
    assert len(set(one["x"].tolist())) == 50
    assert (np.diff(one["event_time"]) > 0).all()
    assert one["x"].tolist() != house.log.sample(target, 50, seed=4)["x"].tolist()
    assert len(house.log.sample(target, 5000)["x"]) == 1000


def test_a_broken_segment_is_a_clear_error(house: House) -> None:
    """Content that is no Parquet is Unavailable, not a crash."""
    digest = house.blobs.put(b"not parquet at all")
    segment = Segment(
        digest=digest, deployment="flights", gateway="g", start=0, end=1, rows=1, size_bytes=1, registered_at=0
    )
    with pytest.raises(Unavailable, match="prediction log cannot be read"):
        house.log.outcomes([segment], [], start=0, end=DAY)
