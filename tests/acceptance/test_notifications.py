"""Notifications end to end: the real command line, a real control plane killed while it tells, receivers on loopback."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tournant.bootstrap.house import open_context
from tournant.config import Settings
from tournant.domain.notifications import NotificationCursor

from .conftest import ENVIRON, LOOPBACK, free_port, until


class Receiver:
    """A web server that keeps what is posted, and calls `then` before it answers."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.then: Callable[[], None] = lambda: None


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            receiver.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            receiver.keys.append(self.headers["Idempotency-Key"])
            receiver.then()
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer((LOOPBACK, 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    receiver.address = f"{LOOPBACK}:{server.server_port}/hook"  # type: ignore[attr-defined]
    yield receiver
    server.shutdown()
    server.server_close()


def tournant(home: Path, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tournant.cli", *words, "--home", str(home)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**ENVIRON, **environ}, timeout=60)


def test_notify_test_says_who_was_told_and_who_was_not(receiver: Any, tmp_path: Path) -> None:
    """Exit 1 and the reason when one fails, exit 0 when all took it; it names no secret."""
    good, bad = f"http://{receiver.address}", "http://127.0.0.1:1/s3cret"
    done = tournant(tmp_path, "notify", "test", TOURNANT_WEBHOOKS=f"{good},{bad}", TOURNANT_NOTIFY="nonsense://s3cret")
    assert done.returncode == 1, done.stderr
    lines = {line.split("  ")[0].partition(" #")[0]: line for line in done.stdout.splitlines()[1:]}
    assert "delivered" in lines["log"] and "delivered" in lines[f"webhook {receiver.address.partition('/')[0]}"]
    assert "failed" in lines["webhook 127.0.0.1:1"] and "refused" in lines["webhook 127.0.0.1:1"]
    assert "failed" in lines["nonsense"] and "knows no such address" in lines["nonsense"]
    assert "s3cret" not in done.stdout
    assert receiver.bodies[0]["event"] == "notifier.tested"
    done = tournant(tmp_path, "notify", "test", "--json", TOURNANT_NOTIFY=f"json://{receiver.address}")
    assert done.returncode == 0
    assert [test["problem"] for test in json.loads(done.stdout)] == ["", ""]
    assert receiver.bodies[1]["title"] == "tournant: a test"


def control_plane(home: Path, url: str) -> subprocess.Popen[bytes]:
    words = ["--home", str(home), "--port", str(free_port())]
    environ = {**ENVIRON, "TOURNANT_WEBHOOKS": url}
    return subprocess.Popen([sys.executable, "-m", "tournant.bootstrap.control_plane", *words], env=environ)


def test_a_kill_while_telling_tells_again_after_the_restart(receiver: Any, tmp_path: Path) -> None:
    """The receiver has it, nobody noted that: it comes again with the same key, and then what happened since, in order."""
    ctx = open_context(Settings.load(home=tmp_path))

    def record(kind: str) -> None:
        with ctx.transactions.begin() as uow:
            uow.record(ctx.event(kind, "deployment/d", kind))

    def follows() -> bool:
        with ctx.transactions.begin(write=False) as uow:
            return uow.count(NotificationCursor) > 0

    first = control_plane(tmp_path, f"http://{receiver.address}")
    try:
        until(follows)
        receiver.then = lambda: os.kill(first.pid, signal.SIGKILL)
        record("alert.opened")
        assert first.wait(30) == -signal.SIGKILL
    finally:
        first.kill()
        first.wait()
    receiver.then = lambda: None
    record("alert.closed")
    second = control_plane(tmp_path, f"http://{receiver.address}")
    try:
        until(lambda: len(receiver.bodies) >= 3)
    finally:
        second.terminate()
        second.wait(30)
    assert [body["event"] for body in receiver.bodies] == ["alert.opened", "alert.opened", "alert.closed"]
    assert receiver.keys[0] == receiver.keys[1] != receiver.keys[2]
