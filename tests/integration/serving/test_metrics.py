"""Metrics, request ids, the access log, overload: what a gateway tells about itself, and how it says no."""

import json
import socket
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import tournant.serving.gateway as gateway_module
import tournant.serving.load as load_module
import tournant.serving.shedding as shedding_module
from tournant.serving.metrics import Metrics, Sample, render
from tournant.serving.shedding import glance

SLOW = """
import time
class Model:
    def predict_proba(self, rows):
        time.sleep(0.05 * len(rows))
        return [[0.5, 0.5] for _ in rows]
"""


def exposed(gateway):
    """Give the metrics as a mapping from series with labels to value."""
    with urllib.request.urlopen(f"http://127.0.0.1:{gateway.port}/metrics") as answer:
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        lines = answer.read().decode().splitlines()
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}


def ask(gateway, path="/predict/flights", content=None, **headers):
    content = json.dumps({"inputs": {"plane": "N1", "x": 0.5}}).encode() if content is None else content
    request = urllib.request.Request(f"http://127.0.0.1:{gateway.port}{path}", data=content, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.headers
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers


def test_requests_errors_and_models_are_counted(control, gateway, converted, deployment):
    """By protocol and status, by kind of error, by revision and role; and what is served is named with its data."""
    stable, shadow = converted(1), converted(2)
    control.route(deployment(stable, shadow, shadows=(shadow.id,)))
    control.wait_applied()
    for _ in range(3):
        ask(gateway)
    ask(gateway, content=b"{")
    ask(gateway, "/v2/models/flights/infer", b"{}")
    ask(gateway, "/predict/nobody")
    control.barrier(1.0)
    seen = exposed(gateway)
    assert seen['tournant_requests_total{deployment="flights",protocol="predict",status="200"}'] == 3
    assert seen['tournant_requests_total{deployment="flights",protocol="open_inference",status="400"}'] == 1
    assert seen['tournant_requests_total{deployment="",protocol="predict",status="404"}'] == 1
    assert seen['tournant_errors_total{deployment="flights",protocol="predict",kind="malformed"}'] == 1
    assert seen['tournant_request_seconds_count{deployment="flights",protocol="predict"}'] == 4
    assert seen['tournant_request_seconds_bucket{deployment="flights",protocol="predict",le="+Inf"}'] == 4
    for revision, role in (("flights/1", "stable"), ("flights/2", "shadow")):
        labels = f'{{deployment="flights",revision="{revision}",role="{role}"}}'
        assert seen[f"tournant_predictions_total{labels}"] == 3
        assert seen[f"tournant_model_seconds_count{labels}"] == 3
    assert seen["tournant_shadow_dropped_total"] == 0
    named = [series for series in seen if series.startswith("tournant_revision_info") and "flights@2" in series]
    assert len(named) == 1


def test_counts_outlive_the_process_and_add_up(tmp_path):
    """A gateway carries on from what it wrote; another of the same home adds that to its own."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first, other = Metrics(tmp_path / "a"), Metrics(tmp_path / "b")
    for metrics in (first, first, other):
        metrics.answered("d", "predict", 200, 0.01)
    queue = [Sample.one("tournant_queue_rows", 5, revision="d/1")]
    first.keep(first.gather(queue))
    line = b'tournant_requests_total{deployment="d",protocol="predict",status="200"} 3'
    both = render(other.everyone(other.gather(queue)))
    assert line in both
    assert b'tournant_queue_rows{revision="d/1"} 10' in both
    again = Metrics(tmp_path / "a")
    again.answered("d", "predict", 200, 0.01)
    told = render(again.gather([]))
    assert line in told
    assert b"tournant_queue_rows" not in told


def test_request_ids_come_back_and_the_access_log_has_them(control, run, tmp_path, converted, deployment):
    """A client's id is kept, a bad one replaced; the log names it, the trace, the status and the error."""
    running = run(access_log=1.0)
    control.route(deployment(converted(1)))
    control.wait_applied()
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    assert ask(running, **{"X-Request-Id": "a-7", "traceparent": trace})[1]["x-request-id"] == "a-7"
    made = ask(running, content=b"{", **{"X-Request-Id": "a 7"})[1]["x-request-id"]
    assert len(made) == 16
    running.stop()
    (log,) = (tmp_path / "home" / "gateway").glob("*/logs/access.ndjson")
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [(line["request_id"], line["status"], line.get("error")) for line in lines] == [
        ("a-7", 200, None),
        (made, 400, "malformed"),
    ]
    assert lines[0]["trace_id"] == "0af7651916cd43dd8448eb211c80319c"
    assert lines[0]["milliseconds"] > 0


def test_the_metrics_of_a_revision_that_left_go_after_a_while(
    control, gateway, converted, deployment, monkeypatch, wait
):
    """A deployment that renews itself daily would have thousands of series; what its clients asked still counts."""
    control.route(deployment(converted(1)))
    control.wait_applied()
    ask(gateway)
    control.route(deployment(converted(2)))
    control.wait_applied()
    control.barrier(1.0)
    ask(gateway)
    assert {label in series for series in exposed(gateway) for label in ['revision="flights/1"']} == {True, False}
    monkeypatch.setattr(gateway_module, "GONE_SECONDS", 0.0)
    wait(lambda: not any('revision="flights/1"' in series for series in exposed(gateway)))
    found = exposed(gateway)
    assert any('revision="flights/2"' in series for series in found)
    assert found['tournant_requests_total{deployment="flights",protocol="predict",status="200"}'] == 2


def test_who_is_refused_unread_is_told_and_counted_the_same(control, gateway, converted, deployment, monkeypatch):
    """From the second on, refusals of an overloaded loop take no parsing: answer, id, metrics and connection are as ever."""
    control.route(deployment(converted(1)))
    control.wait_applied()
    glanced = []
    monkeypatch.setattr(shedding_module, "glance", lambda head: glanced.append(glance(head)) or glanced[-1])
    body = b'{"inputs": {"plane": "N1", "x": 0.25}}'
    head = b"POST /predict/flights HTTP/1.1\r\nHost: x\r\nX-Request-Id: a-%d\r\nContent-Length: %d\r\n\r\n"
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as client:

        def asked(number):
            client.sendall(head % (number, len(body)) + body)
            return client.recv(65536).replace(b"a-%d" % number, b"ID")

        with monkeypatch.context() as overloaded:
            overloaded.setattr(load_module, "SHARE", -1.0)
            overloaded.setattr(load_module, "BURST_SHARE", -1.0)
            overloaded.setattr(load_module, "LASTING_SHARE", -1.0)
            answers = [asked(number) for number in range(3)]
        assert asked(3).startswith(b"HTTP/1.1 200 OK\r\n")
    assert answers[0] == answers[1] == answers[2]
    assert answers[0].startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert b"x-request-id: ID\r\n" in answers[0]
    assert b"retry-after: 1\r\n" in answers[0]
    assert [found.call.path for found in glanced[:2]] == ["/predict/flights"] * 2
    assert exposed(gateway)['tournant_errors_total{deployment="flights",protocol="predict",kind="overloaded"}'] == 3


def test_overload_is_refused_at_once_and_the_accepted_stay_in_time(control, gateway, worked, deployment):
    """At several times a worker's capacity the rest get 503 with Retry-After in no time; who is accepted is in time."""
    control.route(deployment(worked(1, SLOW), slo_p99_ms=1_000.0))
    control.wait_applied()
    ask(gateway)

    def client(_):
        began = time.monotonic()
        status, headers = ask(gateway)
        return status, headers.get("retry-after"), time.monotonic() - began

    with ThreadPoolExecutor(64) as threads:
        answers = list(threads.map(client, range(192)))
    refused = [answer for answer in answers if answer[0] != 200]
    assert {(status, after) for status, after, _ in refused} == {(503, "1")}
    assert len(refused) > 64
    assert len(answers) - len(refused) >= 10
    assert exposed(gateway)['tournant_errors_total{deployment="flights",protocol="predict",kind="overloaded"}'] == len(
        refused
    )
