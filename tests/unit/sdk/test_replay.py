"""The lockstep replay, against servers as small as they can be."""

import hashlib
import json
import math
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import duckdb
import pytest

from tournant.errors import Invalid, NotFound, Unavailable
from tournant.sdk.client import Client
from tournant.sdk.replay import Replay

DAY = 86_400.0
START = datetime(2013, 2, 1, tzinfo=UTC).timestamp()
ALWAYS = 1e9  # a latency that no answer reaches


class Handler(BaseHTTPRequestHandler):
    """Hands each request's body to the server's `answer`, and sends what it gives (None: hangs up)."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        answer = self.server.answer(self.path, body)
        if answer is None:
            self.close_connection = True
            return
        status, content = answer
        payload = json.dumps(content).encode()
        head = f"HTTP/1.1 {status} Said\r\nContent-Type: application/json\r\nContent-Length: {len(payload)}\r\n\r\n"
        self.wfile.write(head.encode() + payload)

    def log_message(self, *_):
        """Be quiet."""


class Server(ThreadingHTTPServer):
    """Takes all connections of a day at once, as a real one does."""

    request_queue_size = 64


@contextmanager
def serve(answer, port=0):
    """Serve until the block ends; give the address."""
    with Server(("127.0.0.1", port), Handler) as server:
        server.answer = answer
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


class FakeGateway:
    """Scores by key; keys in `failing` get a 500, those in `lost` a closed connection."""

    def __init__(self, journal):
        self.journal = journal
        self.failing, self.lost, self.version = set(), set(), "flights@1"
        self.inside = self.most_inside = 0
        self.lock = threading.Lock()

    def answer(self, path, body):
        with self.lock:
            self.journal.append(("request", body))
            self.inside += 1
            self.most_inside = max(self.most_inside, self.inside)
        time.sleep(0.001)
        with self.lock:
            self.inside -= 1
        assert path == "/predict/flights"
        key = body["key"]
        if key in self.lost:
            return None
        if key in self.failing:
            return 500, {"error": {"code": "model", "message": "no carrier '??'", "place": ""}}
        prediction = {"id": f"p-{key}", "score": score_of(key)}
        return 200, {"predictions": [prediction], "model_version": self.version, "revision": "flights/1"}


class FakeControl:
    """Writes down labels and times; `down` answers of 503 come first."""

    def __init__(self, journal):
        self.journal = journal
        self.down = 0

    def answer(self, path, body):
        if self.down:
            self.down -= 1
            return 503, {"error": {"code": "unavailable", "message": "starting", "place": ""}}
        self.journal.append((path, body))
        if path == "/api/labels":
            return 200, {"accepted": len(body["labels"])}
        assert path == "/api/clock"
        return 200, {"now": body["now"], "replay": True, "wall": 0.0}


class World:
    """A gateway, a control plane, what they were asked in order, and the rows of a table."""

    def __init__(self, folder, client, gateway, gateway_url, control, journal):
        self.folder, self.client, self.gateway, self.gateway_url = folder, client, gateway, gateway_url
        self.control, self.journal = control, journal

    def replay(self, rows, **settings):
        """Prepare a replay of `rows` (key, event_time, label, x)."""
        table = self.folder / "later.parquet"
        write_table(table, rows)
        given = {"label": "late", "label_delay_seconds": DAY, "slo_ms": ALWAYS, "patience_seconds": 30.0} | settings
        return Replay(self.client, gateway_url=self.gateway_url, deployment="flights", table=table, **given)

    def requests(self):
        return [body for kind, body in self.journal if kind == "request"]

    def labels(self):
        return [label for kind, body in self.journal if kind == "/api/labels" for label in body["labels"]]

    def times(self):
        return [body["now"] for kind, body in self.journal if kind == "/api/clock"]


@pytest.fixture
def world(tmp_path):
    """Start both servers."""
    journal = []
    gateway, control = FakeGateway(journal), FakeControl(journal)
    with serve(gateway.answer) as gateway_url, serve(control.answer) as url, Client(url) as client:
        yield World(tmp_path, client, gateway, gateway_url, control, journal)


def score_of(key):
    return int(hashlib.md5(key.encode()).hexdigest()[:6], 16) / 2**24


def rows_of(days, per_day, *, start=START):
    """Give `per_day` flights on each day, every tenth without a label."""
    return [
        (f"d{day}-{i:03d}", start + day * DAY + i * 60.0, None if i % 10 == 9 else float(i % 2), i / 4)
        for day in range(days)
        for i in range(per_day)
    ]


def write_table(path, rows):
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE t (key VARCHAR, event_time DOUBLE, late DOUBLE, x DOUBLE, carrier VARCHAR)")
        connection.executemany("INSERT INTO t VALUES (?, ?, ?, ?, 'UA')", rows)
        connection.execute(f"COPY t TO '{path}' (FORMAT parquet)")


def test_days_go_in_lockstep_with_labels_a_day_later(world):
    """Each day: its requests, then the labels known by then, then the clock; one more day for the last labels."""
    rows = rows_of(2, 20)
    days = list(world.replay(rows).run())
    steps = [kind for i, (kind, _) in enumerate(world.journal) if i == 0 or world.journal[i - 1][0] != kind]
    assert steps == ["request", "/api/clock", "request", "/api/labels", "/api/clock", "/api/labels", "/api/clock"]
    assert world.times() == [START + DAY, START + 2 * DAY, START + 3 * DAY]
    assert [(day.date, day.requests, day.labels) for day in days] == [
        ("2013-02-01", 20, 0),
        ("2013-02-02", 20, 18),
        ("2013-02-03", 0, 18),
    ]
    assert world.labels() == [
        {"key": key, "value": label, "event_time": time + DAY} for key, time, label, _ in rows if label is not None
    ]


def test_requests_carry_inputs_key_and_event_time(world):
    """A request has the table's other columns as inputs, a missing number as null, and its own event time."""
    list(world.replay([("a", START + 60, 1.0, math.nan), ("b", START + 61, 0.0, 2.5)]).run())
    assert sorted(world.requests(), key=lambda body: body["key"]) == [
        {"inputs": {"x": None, "carrier": "UA"}, "key": "a", "event_time": START + 60},
        {"inputs": {"x": 2.5, "carrier": "UA"}, "key": "b", "event_time": START + 61},
    ]


def test_only_the_inputs_asked_for_are_sent(world):
    """`inputs` chooses columns."""
    list(world.replay([("a", START, 1.0, 3.0)], inputs=["x"]).run())
    assert world.requests()[0]["inputs"] == {"x": 3.0}


def test_labels_known_within_the_day_come_the_same_day(world):
    """With a delay of 6 hours, a flight of the morning has its label by midnight and one of the evening the day after."""
    rows = [("morning", START + 3600, 1.0, 0.0), ("evening", START + 20 * 3600, 0.0, 0.0)]
    days = list(world.replay(rows, label_delay_seconds=6 * 3600).run())
    assert [day.labels for day in days] == [1, 1]
    assert [label["key"] for label in world.labels()] == ["morning", "evening"]


def test_a_fraction_is_the_same_rows_every_time(world):
    """The sample is those keys whose MD5 lies below the fraction, so anybody can tell which."""
    rows = rows_of(1, 600)
    day = next(iter(world.replay(rows, fraction=0.2).run()))
    expected = {key for key, *_ in rows if int(hashlib.md5(key.encode()).hexdigest(), 16) < 0.2 * 2**128}
    assert {body["key"] for body in world.requests()} == expected
    assert day.requests == len(expected)
    assert 0.12 < len(expected) / len(rows) < 0.28


def test_days_ends_the_replay_early_but_not_its_labels(world):
    """After `days` days no requests are sent, while the labels of those sent still come."""
    days = list(world.replay(rows_of(5, 10), days=2).run())
    assert [(day.requests, day.labels) for day in days] == [(10, 0), (10, 9), (0, 9)]


def test_start_skips_what_was_before(world):
    """A replay may begin in the middle of a day; earlier flights get neither request nor label."""
    days = list(world.replay(rows_of(2, 20), start=START + 10 * 60).run())
    assert [(day.requests, day.labels) for day in days] == [(10, 0), (20, 9), (0, 18)]
    assert days[0].start == START + 10 * 60


def test_days_without_requests_pass_too(world):
    """The clock is advanced over a gap day by day, for what happens by the clock alone."""
    rows = [("a", START, 1.0, 0.0), ("b", START + 3 * DAY, 1.0, 0.0)]
    days = list(world.replay(rows, label_delay_seconds=0).run())
    assert [day.requests for day in days] == [1, 0, 0, 1]
    assert world.times() == [START + (i + 1) * DAY for i in range(4)]


def test_failures_and_lost_connections_are_counted_as_the_client_sees_them(world):
    """An error answer or a lost connection is one failed request; the others go on."""
    world.gateway.failing, world.gateway.lost = {"d0-003", "d0-004"}, {"d0-010"}
    day = next(iter(world.replay(rows_of(1, 50)).run()))
    assert (day.requests, day.failed, day.over_budget) == (50, 3, 0)
    assert day.answered == {"flights@1": 47}
    assert "500: " in day.failure
    assert "no carrier" in day.failure


def test_answers_over_the_budget_are_counted(world):
    """Every answer slower than the SLO counts, and a failed one is not counted twice."""
    world.gateway.failing = {"d0-003"}
    day = next(iter(world.replay(rows_of(1, 10), slo_ms=0.0).run()))
    assert (day.failed, day.over_budget) == (1, 9)
    assert len(day.latencies_ms) == 10
    assert 0 < day.latency_ms(0.5) <= day.latency_ms(1.0)


def test_a_request_without_an_answer_fails_after_its_timeout(world):
    """A gateway that never answers costs one failure, not the replay."""
    forever = threading.Event()

    def hang(path, body):
        if body["key"] == "d0-000":
            forever.wait(30)
        return world.gateway.answer(path, body)

    with serve(hang) as url:
        world.gateway_url = url
        day = next(iter(world.replay(rows_of(1, 5), timeout_seconds=1.5, concurrency=2).run()))
        forever.set()
    assert (day.requests, day.failed) == (5, 1)
    assert "TimeoutError" in day.failure


def test_no_gateway_fails_every_request_and_the_days_go_on(world):
    """With nothing listening, all requests fail, and labels and clock still come."""
    with serve(world.gateway.answer) as url:
        pass
    world.gateway_url = url
    days = list(world.replay(rows_of(1, 10)).run())
    assert [(day.requests, day.failed, day.labels) for day in days] == [(10, 10, 0), (0, 0, 9)]


def test_an_answer_without_a_prediction_is_a_failure(world):
    """A 200 alone proves nothing."""
    with serve(
        lambda _path, _body: (200, {"predictions": [{"id": "p"}], "model_version": "m@1", "revision": "m/1"})
    ) as url:
        world.gateway_url = url
        day = next(iter(world.replay(rows_of(1, 1)).run()))
    assert day.failed == 1
    assert "not one prediction" in day.failure


def test_no_more_than_the_connections_are_in_flight(world):
    """It is a closed loop: at most `concurrency` requests wait at a time."""
    list(world.replay(rows_of(1, 200), concurrency=4).run())
    assert world.gateway.most_inside <= 4


def test_a_restarting_control_plane_is_waited_for(world):
    """Labels and clock are sent again until they are answered; nothing is lost."""
    replay = world.replay(rows_of(2, 10))
    days = replay.run()
    next(days)
    world.control.down = 3
    second = next(days)
    assert (second.failed, second.labels) == (0, 9)
    assert replay.outages == 3
    assert len(world.labels()) == 9


def test_a_killed_control_plane_may_come_back_at_the_same_address(world):
    """With nothing listening in between, the replay goes on as soon as it listens again."""
    with serve(world.control.answer) as url, Client(url) as client:
        client.clock.advance(now=START)
    port = int(url.rsplit(":", 1)[1])
    with Client(url) as client:
        world.client = client
        replay = world.replay(rows_of(1, 10), label_delay_seconds=0)
        back = threading.Event()

        def restart():
            while not replay.outages:
                time.sleep(0.01)
            with serve(world.control.answer, port):
                back.wait(30)

        thread = threading.Thread(target=restart)
        thread.start()
        day = next(iter(replay.run()))
        back.set()
        thread.join()
    assert (day.failed, day.labels) == (0, 9)
    assert world.times() == [START, START + DAY]


def test_patience_ends(world):
    """A control plane that never comes back is an error in the end."""
    world.control.down = 1_000_000
    with pytest.raises(Unavailable, match="starting"):
        next(iter(world.replay(rows_of(1, 1), patience_seconds=0.3).run()))


def test_answers_are_kept_by_column(world):
    """Every answer can be looked up by key afterwards, to be checked against the prediction log."""
    world.gateway.failing = {"d0-002"}
    replay = world.replay(rows_of(2, 5))
    days = replay.run()
    next(days)
    world.gateway.version = "flights@2"
    list(days)
    columns = replay.answers.columns()
    assert len(replay.answers) == 10
    assert columns["key"].tolist() == [key for key, *_ in rows_of(2, 5)]
    assert columns["version"].tolist() == ["flights@1"] * 2 + [""] + ["flights@1"] * 2 + ["flights@2"] * 5
    assert columns["revision"][0] == "flights/1"
    assert columns["prediction_id"][9] == "p-d1-004"
    assert columns["score"][0] == score_of("d0-000")
    assert math.isnan(columns["score"][2])


def test_an_empty_replay_has_empty_columns(world):
    """Before anything was sent, the columns are there and empty."""
    assert all(len(column) == 0 for column in world.replay(rows_of(1, 1)).answers.columns().values())


def test_event_times_may_be_timestamps(world):
    """A table with timestamps replays as one with seconds."""
    table = world.folder / "stamped.parquet"
    with duckdb.connect() as connection:
        connection.execute(
            f"COPY (SELECT 7 AS number, TIMESTAMP '2013-02-01 08:00:00' AS at, 1 AS y, 2.50::DECIMAL(5, 2) AS x) TO '{table}'"
        )
    replay = Replay(
        world.client,
        gateway_url=world.gateway_url,
        deployment="flights",
        table=table,
        label="y",
        key="number",
        event_time="at",
        slo_ms=ALWAYS,
    )
    assert [day.failed for day in replay.run()] == [0]
    assert world.requests() == [{"inputs": {"x": 2.5}, "key": "7", "event_time": START + 8 * 3600}]
    assert world.labels() == [{"key": "7", "value": 1.0, "event_time": START + 8 * 3600}]


def test_a_missing_column_is_named(world):
    """A table without the label is refused, naming what it has."""
    with pytest.raises(Invalid, match=r"no column 'arrival' \(it has: key, event_time, late, x, carrier\)"):
        next(iter(world.replay(rows_of(1, 1), label="arrival").run()))


def test_a_missing_or_unreadable_table_is_refused(world, tmp_path):
    """No file, and a file that is no table, are told apart."""
    replay = world.replay(rows_of(1, 1))
    (tmp_path / "later.parquet").write_text("no Parquet")
    with pytest.raises(Invalid, match="cannot be replayed"):
        next(iter(replay.run()))
    (tmp_path / "later.parquet").unlink()
    with pytest.raises(NotFound, match="no file"):
        next(iter(replay.run()))


@pytest.mark.parametrize("settings", [{"fraction": 0.0}, {"fraction": 1.1}, {"days": 0}, {"concurrency": 0}])
def test_settings_out_of_range_are_refused(world, settings):
    """A replay of nothing is a mistake."""
    with pytest.raises(Invalid):
        next(iter(world.replay(rows_of(1, 1), **settings).run()))


def test_an_address_that_is_none_is_refused(world):
    """A gateway's address needs a scheme and a host."""
    world.gateway_url = "localhost:8080"
    with pytest.raises(Invalid, match="no address of a gateway"):
        next(iter(world.replay(rows_of(1, 1)).run()))
