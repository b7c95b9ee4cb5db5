"""The gateway as the process that operations start and stop."""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import pytest

from tournant.serving.spool import FLUSH_SECONDS

GATEWAY = [sys.executable, "-m", "tournant.bootstrap.gateway"]


def started(home, control_url, port):
    return subprocess.Popen(
        [*GATEWAY, "--home", str(home), "--control-url", control_url, "--port", str(port)], stderr=subprocess.PIPE
    )


@pytest.fixture
def port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def children(pid):
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True).stdout
    return [int(child) for child in found.split()]


def alive(pid):
    try:
        said = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return said.rsplit(")", 1)[1].split()[0] != "Z"


def test_gateway_loads_neither_sqlalchemy_nor_starlette():
    """The data plane needs no database and no web framework."""
    code = (
        "import sys, tournant.bootstrap.gateway;"
        "print([m for m in ('sqlalchemy', 'starlette', 'duckdb', 'alembic') if m in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_used_port_is_a_sentence_and_exit_2(tmp_path):
    """No traceback, and what to do next."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        process = started(tmp_path, "http://127.0.0.1:9", taken.getsockname()[1])
        _, said = process.communicate(timeout=30)
    assert process.returncode == 2
    assert b"cannot listen" in said
    assert b"Traceback" not in said


@pytest.mark.slow
@pytest.mark.parametrize(("asked", "code"), [(signal.SIGTERM, 0), (signal.SIGKILL, -signal.SIGKILL)])
def test_nothing_outlives_the_gateway(control, worked, deployment, tmp_path, port, wait, asked, code):
    """Workers and the recorder end with it, however it ends; after a SIGKILL the next one delivers the spool."""
    source = "class Model:\n    def predict_proba(self, rows):\n        return [[0.5, 0.5] for _ in rows]\n"
    control.route(deployment(worked(1, source)))
    process = started(tmp_path / "home", control.url, port)
    try:
        wait(lambda: control.status("flights/1") and control.status("flights/1").state != "loading", 60)
        assert control.status("flights/1").state == "ready", control.status("flights/1").error
        family = children(process.pid)
    finally:
        process.send_signal(asked)
        _, said = process.communicate(timeout=15)
    assert process.returncode == code, said
    assert len(family) == 2
    wait(lambda: not any(alive(pid) for pid in family))


def test_a_killed_gateway_loses_less_than_a_flush_interval(control, converted, deployment, tmp_path, port, wait):
    """Killed amid traffic: all that was answered earlier than that is delivered by the next one, once."""
    control.route(deployment(converted(1)))
    process = started(tmp_path / "home", control.url, port)
    wait(lambda: control.reports and control.reports[-1].routes_version >= 1)
    answered: dict[str, float] = {}  # when each prediction's answer came, by its key

    def ask(number):
        body = json.dumps({"inputs": {"plane": "N1", "x": 0.5}, "key": str(number)}).encode()
        url = f"http://127.0.0.1:{port}/predict/flights"
        with urllib.request.urlopen(urllib.request.Request(url, data=body, method="POST"), timeout=10) as answer:
            answer.read()
        answered[str(number)] = time.monotonic()

    def client():
        with contextlib.suppress(OSError, http.client.HTTPException):  # the gateway is gone
            for number in numbers:
                ask(number)

    numbers = iter(range(10**9))
    threads = [threading.Thread(target=client) for _ in range(4)]
    for thread in threads:
        thread.start()
    wait(lambda: sum(at < time.monotonic() - 4 * FLUSH_SECONDS for at in list(answered.values())) > 100)
    killed = time.monotonic()
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=10)
    for thread in threads:
        thread.join()
    again = started(tmp_path / "home", control.url, port)
    try:
        durable = {key for key, at in answered.items() if at < killed - 2 * FLUSH_SECONDS}
        assert durable
        wait(lambda: sum(segment.rows for segment in control.segments) >= len(durable))
    finally:
        again.terminate()
        again.communicate(timeout=15)
    kept = [row["key"] for row in control.rows()]
    lost = set(answered) - set(kept)
    assert len(kept) == len(set(kept))
    assert not lost & durable, f"{len(lost)} of {len(answered)} predictions are lost"
    assert len({report.gateway for report in control.reports}) == 1
