"""Spool, recorder and counters: nothing is lost, nothing is twice, and memory has an end."""

import os
from pathlib import Path

import duckdb
import pytest

from tournant.domain.registry import Column, ColumnType, Signature
from tournant.serving.counters import Counters, Stream
from tournant.serving.recorder import write_segment
from tournant.serving.recording import Recorder
from tournant.serving.schema import RowSchema
from tournant.serving.spool import Record, Spool, header_of


def one_column():
    return RowSchema(Signature(inputs=(Column(name="it's", type=ColumnType.NUMBER, nullable=True),)))


def record(number, inputs, **more):
    values = {
        "prediction_id": f"p{number}",
        "key": "",
        "entity": None,
        "event_time": float(number),
        "revision": "f/1",
        "role": "stable",
        "rollout": "",
        "epoch": 0,
        "score": 0.5,
        "scores": None,
        "error": None,
        "latency_ms": 1.0,
        "fallback": False,
        "inputs": inputs,
    }
    return Record(**{**values, **more})


def written(spool):
    return sorted(spool.folder.glob("*.ndjson"))


def test_segment_holds_the_rows_in_order_with_their_types(tmp_path):
    """Whatever the columns are called, nulls stay nulls."""
    spool, schema = Spool(tmp_path), one_column()
    header = header_of("f", schema)
    spool.append(header, record(1, schema.row_of({"it's": None})))
    spool.append(header, record(2, None, role="shadow", score=None, error="raised", scores=[0.25, 0.75]))
    spool.append(header, record(3, schema.row_of({"it's": 2.5})))
    spool.rotate()
    segment = write_segment(written(spool)[0])
    assert (segment.deployment, segment.rows, segment.start, segment.end) == ("f", 3, 1.0, 3.0)
    cursor = duckdb.connect().execute(f"select prediction_id, score, scores, error, \"in.it's\" from '{segment.path}'")
    assert cursor.fetchall() == [
        ("p1", 0.5, None, None, None),
        ("p2", None, [0.25, 0.75], "raised", None),
        ("p3", 0.5, None, None, 2.5),
    ]


def test_segment_of_a_spool_is_made_once(tmp_path):
    """A second call, in another life, gives the same digest without writing."""
    spool, schema = Spool(tmp_path), one_column()
    spool.append(header_of("f", schema), record(1, schema.row_of({"it's": 1.0})))
    spool.rotate()
    assert write_segment(written(spool)[0]) == write_segment(written(spool)[0])


@pytest.fixture
def recorder(tmp_path):
    """A recorder process."""
    recorder = Recorder(tmp_path / "recorder.log", os.environ)
    yield recorder
    recorder.close()


def test_rows_too_wide_for_the_little_memory_are_written_all_the_same(tmp_path, recorder):
    """The recorder works in little memory, and takes more when it must."""
    columns = (Column(name="text", type=ColumnType.STRING, nullable=False),)
    spool, schema = Spool(tmp_path), RowSchema(Signature(inputs=columns))
    wide = "x" * 2_000_000
    for number in range(80):
        spool.append(header_of("f", schema), record(number, schema.row_of({"text": f"{number} {wide}"})))
    spool.rotate()
    widest = max(written(spool), key=lambda path: path.stat().st_size)
    with pytest.raises(duckdb.OutOfMemoryException):
        write_segment(widest)
    segments = [recorder.convert(path) for path in written(spool)]
    assert sum(segment.rows for segment in segments) == 80


def test_memory_that_a_segment_took_is_given_back(tmp_path, recorder):
    """Between two segments the recorder holds what its libraries take."""
    resident = Path(f"/proc/{recorder.pid}/statm")
    if not resident.exists():
        pytest.skip("resident memory is read from /proc")
    spool, schema = Spool(tmp_path), one_column()
    header = header_of("f", schema)

    def segment(rows):
        for number in range(rows):
            spool.append(header, record(number, schema.row_of({"it's": number / 7})))
        spool.rotate()
        assert recorder.convert(written(spool)[-1]).rows == rows
        return int(resident.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    little = segment(1)
    assert segment(50_000) < little + 8e6


def test_what_cannot_be_written_is_told(tmp_path, recorder):
    """The recorder goes on with the next."""
    spool, schema = Spool(tmp_path), one_column()
    spool.append(header_of("f", schema), record(1, schema.row_of({"it's": 1.0})))
    spool.rotate()
    good = written(spool)[0]
    bad = tmp_path / "bad.ndjson"
    bad.write_text("no JSON at all\n")
    bad.with_suffix(".columns.json").write_bytes(good.with_suffix(".columns.json").read_bytes())
    assert "JSON" in recorder.convert(bad).error
    assert recorder.convert(good).rows == 1


def test_half_a_line_is_cut_off(tmp_path):
    """A process that died while writing costs that line only."""
    spool, schema = Spool(tmp_path), one_column()
    for number in range(3):
        spool.append(header_of("f", schema), record(number, schema.row_of({"it's": 1.0})))
    spool.rotate()
    path = written(spool)[0]
    path.write_bytes(path.read_bytes()[:-10])
    assert write_segment(path).rows == 2
    for end in (0, 20):
        other = tmp_path / f"short{end}.ndjson"
        other.write_bytes(path.read_bytes()[:end])
        other.with_suffix(".columns.json").write_bytes(path.with_suffix(".columns.json").read_bytes())
        assert write_segment(other).rows == 0


def test_spool_is_bounded_and_counts_what_it_drops(tmp_path):
    """When the uploader removes files there is room again."""
    schema = one_column()
    spool, header = Spool(tmp_path, limit_bytes=2_000, rotate_bytes=500), header_of("f", schema)
    for number in range(100):
        spool.append(header, record(number, schema.row_of({"it's": 1.0})))
        spool.flush()
    files = written(spool)
    kept = sum(
        path.read_bytes().count(b"\n") for path in tmp_path.glob("*.[no]*") if path.suffix in (".ndjson", ".open")
    )
    assert len(files) > 1
    assert kept + spool.dropped == 100
    assert spool.dropped > 0
    spool.forget(files[0].stat().st_size)
    dropped = spool.dropped
    spool.append(header, record(101, schema.row_of({"it's": 1.0})))
    assert spool.dropped == dropped


def test_spool_of_an_earlier_life_is_handed_on(tmp_path):
    """What was open when the process died waits for the uploader, beside what comes now."""
    schema = one_column()
    first = Spool(tmp_path)
    first.append(header_of("f", schema), record(1, schema.row_of({"it's": 1.0})))
    first.flush()
    second = Spool(tmp_path)
    assert len(written(second)) == 1
    assert second.backlog_bytes == written(second)[0].stat().st_size


def test_other_columns_begin_another_file(tmp_path):
    """One file has one set of columns."""
    spool, schema = Spool(tmp_path), one_column()
    other = RowSchema(Signature(inputs=(Column(name="y", type=ColumnType.STRING),)))
    spool.append(header_of("f", schema), record(1, schema.row_of({"it's": 1.0})))
    spool.append(header_of("f", other), record(2, other.row_of({"y": "a"})))
    spool.rotate()
    assert [write_segment(path).rows for path in written(spool)] == [1, 1]


def test_counters_sum_by_hour_of_event_time():
    """Taking them leaves none behind."""
    counters, stream = Counters(), Stream("f", "f/1", "stable", "", 0)
    for time, latency_ms in ((10.0, 0.05), (3_599.0, 4.0), (3_600.0, 5_000.0)):
        counters.cell(stream, time).answered(latency_ms, 100.0)
        counters.cell(stream, time).scored(0.5)
    counters.cell(stream, 10.0).failed(2.0, 100.0, fallback=True)
    first, second = counters.take()
    assert (first.bucket, first.requests, first.errors, first.fallbacks, first.over_slo) == (0.0, 3, 1, 1, 0)
    assert (first.latency[0], sum(first.latency), first.score_sum, first.score_squares, first.rows) == (
        1,
        3,
        1.0,
        0.5,
        2,
    )
    assert (second.bucket, second.requests, second.over_slo, second.latency[-1]) == (3_600.0, 1, 1, 1)
    assert counters.take() == ()
