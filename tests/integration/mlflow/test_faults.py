"""Faults and bad input: a server killed among its writers, an upload that breaks off, and whatever people may send."""

import http.client
import json
import signal
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings

from control_plane import Server


def ask(server: Server, path: str, body: object = None, *, method: str = "POST") -> tuple[int, Any]:
    """Ask, and give status and JSON."""
    content = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{server.url}/api/2.0{path}", data=content, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.loads(answer.read() or b"{}")
    except urllib.error.HTTPError as exc:
        with exc:
            return exc.code, json.loads(exc.read())


@pytest.fixture
def mortal(tmp_path: Path) -> Iterator[Server]:
    """Give a control plane that may be killed."""
    server = Server(tmp_path / "home")
    server.start()
    yield server
    server.end()


@pytest.mark.slow
def test_what_was_acknowledged_outlives_a_kill(mortal: Server) -> None:
    """8 writers, kill -9 in the middle: after the restart every acknowledged batch is there, whole."""
    runs = [ask(mortal, "/mlflow/runs/create", {"experiment_id": "0"})[1]["run"]["info"]["run_id"] for _ in range(8)]
    acknowledged: dict[str, int] = dict.fromkeys(runs, 0)
    enough = threading.Event()

    def write(run: str) -> None:
        with closing(http.client.HTTPConnection("127.0.0.1", mortal.port, timeout=10)) as connection:
            for batch in range(10_000):
                metrics = [{"key": "m", "value": i, "timestamp": batch, "step": 20 * batch + i} for i in range(20)]
                body = json.dumps({"run_id": run, "metrics": metrics})
                try:
                    connection.request("POST", "/api/2.0/mlflow/runs/log-batch", body)
                    if connection.getresponse().read() != b"{}":
                        return
                except (OSError, http.client.HTTPException):
                    return
                acknowledged[run] = batch + 1
                if sum(acknowledged.values()) > 200:
                    enough.set()

    writers = [threading.Thread(target=write, args=(run,)) for run in runs]
    for writer in writers:
        writer.start()
    assert enough.wait(60)
    mortal.end(signal.SIGKILL)
    for writer in writers:
        writer.join(30)
    mortal.start()
    for run in runs:
        points = ask(mortal, f"/mlflow/metrics/get-history?run_id={run}&metric_key=m", method="GET")[1]["metrics"]
        steps = sorted(point["step"] for point in points)
        assert steps == list(range(len(steps))) and len(steps) % 20 == 0  # batches are whole, none is missing between
        assert len(steps) >= 20 * acknowledged[run]


def test_an_upload_that_breaks_off_stores_nothing(server: Server) -> None:
    """The path stays as it was."""
    path = "/api/2.0/mlflow-artifacts/artifacts/broken/file.bin"
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.putrequest("PUT", path)
    connection.putheader("Content-Length", "1000000")
    connection.endheaders(b"x" * 1000)
    connection.close()
    assert ask(server, "/mlflow-artifacts/artifacts?path=broken", method="GET") == (200, {})
    assert ask(server, "/mlflow-artifacts/artifacts/broken/file.bin", method="GET")[0] == 404


@pytest.mark.parametrize(
    "path", ["../../etc/passwd", "a/../../b", "%2e%2e/%2e%2e/etc", "..%2f..%2fx", "%5c..%5cx", "a%00b", "/"]
)
def test_a_path_leads_nowhere_else(server: Server, path: str) -> None:
    """Whatever tricks it is written with."""
    for method, body in (("PUT", b"x"), ("GET", None), ("DELETE", None)):
        with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)) as connection:
            connection.request(method, f"/api/2.0/mlflow-artifacts/artifacts/{path}", body)
            status = connection.getresponse().status
        assert 400 <= status < 500, (method, status)


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        ("/mlflow/experiments/create", {}, "INVALID_PARAMETER_VALUE"),
        ("/mlflow/experiments/create", {"name": None}, "INVALID_PARAMETER_VALUE"),
        ("/mlflow/experiments/create", {"name": ["x"]}, "INVALID_PARAMETER_VALUE"),
        ("/mlflow/experiments/create", {"name": "x" * 501}, "INVALID_PARAMETER_VALUE"),
        ("/mlflow/experiments/create", {"name": "a\0b"}, "INVALID_PARAMETER_VALUE"),
        ("/mlflow/experiments/create", b"{nonsense", "INVALID_PARAMETER_VALUE"),
        ("/mlflow/experiments/create", b"[]", "INVALID_PARAMETER_VALUE"),
        ("/mlflow/experiments/create", b"\xff\xfe", "INVALID_PARAMETER_VALUE"),
        ("/mlflow/runs/create", {"experiment_id": "1; DROP TABLE run"}, "RESOURCE_DOES_NOT_EXIST"),
        ("/mlflow/runs/create", {"experiment_id": "9" * 40}, "RESOURCE_DOES_NOT_EXIST"),
        ("/mlflow/runs/create", {"experiment_id": "0", "start_time": 10**30}, "INVALID_PARAMETER_VALUE"),
        ("/mlflow/runs/log-metric", {"run_id": "x", "key": "m", "value": "high"}, "INVALID_PARAMETER_VALUE"),
        ("/mlflow/runs/log-metric", {"run_id": "x", "key": "k" * 251, "value": 1}, "INVALID_PARAMETER_VALUE"),
        ("/mlflow/runs/log-metric", {"key": "m", "value": 1}, "INVALID_PARAMETER_VALUE"),
        (
            "/mlflow/runs/log-batch",
            {"run_id": "x", "metrics": [{"key": "m", "value": 1}] * 1001},
            "INVALID_PARAMETER_VALUE",
        ),
        ("/mlflow/runs/log-batch", {"run_id": "x", "params": [{"key": "p"}] * 101}, "INVALID_PARAMETER_VALUE"),
        ("/mlflow/runs/log-batch", b'{"run_id": "' + b"x" * 1_000_001 + b'"}', "INVALID_PARAMETER_VALUE"),
        ("/mlflow/runs/search", {"filter": "(" * 10_000}, "INVALID_PARAMETER_VALUE"),
        ("/mlflow/runs/search", {"filter": "metrics.x = 1 OR"}, "INVALID_PARAMETER_VALUE"),
        ("/mlflow/runs/search", {"order_by": ["metrics.x SIDEWAYS"]}, "INVALID_PARAMETER_VALUE"),
        ("/mlflow/runs/search", {"max_results": -1}, "INVALID_PARAMETER_VALUE"),
        ("/mlflow/traces/search", {}, "ENDPOINT_NOT_FOUND"),
        ("/mlflow/nonsense", {}, "ENDPOINT_NOT_FOUND"),
    ],
)
def test_bad_input_is_named(server: Server, path: str, body: object, code: str) -> None:
    """With MLflow's code, the status that goes with it, and never a stack trace."""
    status, answer = ask(server, path, body)
    assert (answer["error_code"], status) == (code, 404 if code.endswith(("_EXIST", "_FOUND")) else 400)
    assert "Traceback" not in answer["message"]


def test_a_bad_filter_says_where(server: Server) -> None:
    """By character, with what was expected and what was found."""
    _, answer = ask(server, "/mlflow/runs/search", {"experiment_ids": ["0"], "filter": "metrics.loss < 'low'"})
    assert "expected a number at character 16, found \"'low'\"" in answer["message"]


@pytest.mark.slow
def test_fuzzing_the_documented_endpoints_finds_no_500(server: Server) -> None:
    """Schemathesis makes requests, good ones and bad, out of the OpenAPI document of MLflow's endpoints."""
    schema = schemathesis.openapi.from_url(f"{server.url}/api/2.0/mlflow/openapi.json")
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) > 50
    for operation in operations:
        _fuzz(operation, server)


def _fuzz(operation: Any, server: Server) -> None:
    @settings(max_examples=15, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy())
    def check(case: Any) -> None:
        answer = case.call(base_url=server.url)
        assert answer.status_code < 500, (case.as_curl_command(), answer.text)

    check()
