"""Asking Prometheus: a server on loopback that answers as Prometheus does, and a real one where it is installed."""

import json
import os
import shutil
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from tournant.adapters.metrics import PrometheusSource
from tournant.errors import Unavailable

CONFIG = """\
global: {scrape_interval: 1s}
scrape_configs:
- job_name: itself
  static_configs: [{targets: ["127.0.0.1:%d"]}]
"""


@pytest.fixture
def answer() -> Iterator[Callable[..., str]]:
    """Start servers that give one answer to every query, and stop them at the end."""
    servers = []

    def start(body: object, status: int = 200) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                address = urlsplit(self.path)
                assert address.path == "/prefix/api/v1/query" and parse_qs(address.query) == {"query": ['x{a="b"} > 1']}
                self.send_response(status)
                self.end_headers()
                self.wfile.write(body if isinstance(body, bytes) else json.dumps(body).encode())

            def log_message(self, *args: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}/prefix/"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def result(kind: str, value: object) -> dict[str, object]:
    return {"status": "success", "data": {"resultType": kind, "result": value}}


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (result("vector", [{"metric": {"a": "b"}, "value": [1.5, "0.25"]}]), 0.25),
        (result("vector", [{"metric": {}, "value": [1.5, "+Inf"]}]), float("inf")),
        (result("scalar", [1.5, "7"]), 7.0),
        (result("vector", []), None),
        (result("vector", [{"metric": {}, "value": [1.5, "NaN"]}]), None),  # 0/0: nothing was counted
    ],
)
def test_one_number_or_no_data(answer: Callable[..., str], body: object, value: float | None) -> None:
    """As the HTTP API has them: numbers are text."""
    assert PrometheusSource().value(answer(body), 'x{a="b"} > 1') == value


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (result("vector", [{"value": [1, "1"]}] * 3), 200, "gives 3 series, not one: aggregate them"),
        (result("matrix", []), 200, "gives a matrix, not one number"),
        ({"status": "error", "errorType": "bad_data", "error": "parse error at char 1"}, 400, "400: parse error at"),
        ({"status": "error", "errorType": "timeout", "error": "query timed out"}, 503, "503: query timed out"),
        (b"<html>welcome</html>", 200, "no Prometheus: it answered 200 without JSON"),
    ],
)
def test_anything_else_says_why(answer: Callable[..., str], body: object, status: int, words: str) -> None:
    """In Prometheus's own words where it has some."""
    with pytest.raises(Unavailable, match=words):
        PrometheusSource().value(answer(body, status), 'x{a="b"} > 1')


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://[bad"])
def test_nobody_there_is_unavailable(url: str) -> None:
    """Refused connections and nonsense addresses are one kind of error."""
    with pytest.raises(Unavailable, match="does not answer"):
        PrometheusSource().value(url, "up")


def test_a_hanging_server_is_given_up() -> None:
    """After the timeout."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(Unavailable, match="ReadTimeout"):
            PrometheusSource(timeout_seconds=0.05).value(url, "up")


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run a real Prometheus that watches itself."""
    program = shutil.which("prometheus") or shutil.which("build/prometheus/usr/bin/prometheus")
    if program is None:
        missing = "there is no Prometheus here, and `make prometheus` could not get Debian's"
        pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)
    folder: Path = tmp_path_factory.mktemp("prometheus")
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (folder / "prometheus.yml").write_text(CONFIG % port)
    command = [program, f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([*command, f"--web.listen-address=127.0.0.1:{port}"], stderr=log, stdout=log)
    try:
        wait_ready(f"http://127.0.0.1:{port}/-/ready")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


def wait_ready(address: str) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            urllib.request.urlopen(address, timeout=1).close()
            return
        except OSError:
            assert time.monotonic() < deadline, "Prometheus did not start within 30 s"
            time.sleep(0.05)


def test_a_real_prometheus_answers(prometheus: str) -> None:
    """Numbers, no data, several series and nonsense; and what it has scraped of itself."""
    source = PrometheusSource()
    assert source.value(prometheus, "vector(0.25)") == source.value(prometheus, "0.25") == 0.25
    assert source.value(prometheus, "sum(rate(nothing_of_this_name[5m]))") is None
    assert source.value(prometheus, "vector(0)/vector(0)") is None
    assert source.value(prometheus, "vector(1)/vector(0)") == float("inf")
    with pytest.raises(Unavailable, match="parse error"):
        source.value(prometheus, "sum(")
    deadline = time.monotonic() + 30
    while source.value(prometheus, 'up{job="itself"}') != 1.0:
        assert time.monotonic() < deadline, "nothing was scraped within 30 s"
        time.sleep(0.1)
    with pytest.raises(Unavailable, match=r"gives \d+ series, not one: aggregate them"):
        source.value(prometheus, '{job="itself"}')
    with pytest.raises(Unavailable, match="not one number now"):
        source.value(prometheus, "up[5m]")
