"""A server under load: how it starts, what it is asked, what it costs, how it ends."""

import contextlib
import http.client
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.load import request_bytes
from benchmarks.processes import cpu_seconds, proportional_bytes, tree
from benchmarks.serving_models import Models

__all__ = ["NotStarted", "Side", "ask"]

START_SECONDS = 120.0
POLL_SECONDS = 0.005
CHECKED_ROWS = 5
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


class NotStarted(Exception):
    """A server did not come to answer."""


@dataclass(slots=True, kw_only=True)
class Side:
    """One server. `bodies` are requests for one row each, `score` finds the probability in an answer."""

    name: str
    command: Sequence[str]
    folder: Path
    port: int
    path: str
    bodies: Sequence[bytes]
    score: Callable[[Any], float]
    environ: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    @property
    def requests(self) -> list[bytes]:
        """The bodies as they go over the wire."""
        return [request_bytes(self.port, self.path, body) for body in self.bodies]

    @property
    def root(self) -> int:
        """The process whose tree is compared."""
        assert self.process
        return self.process.pid

    def start(self, models: Models) -> float:
        """Start, and give the seconds until its first prediction; NotStarted says why there is none."""
        began = time.monotonic()
        process = self.start_process()
        while not self._answers():
            if process.poll() is not None or time.monotonic() - began > START_SECONDS:
                self.stop()
                log = self.folder / "log.txt"
                last = log.read_text(errors="replace").strip().splitlines()[-1:] or ["it said nothing"]
                raise NotStarted(f"it did not start: {last[0][:200]}")
            time.sleep(POLL_SECONDS)
        seconds = time.monotonic() - began
        for row in range(CHECKED_ROWS):
            models.check(self.name, row, self.score(ask(self.port, self.path, self.bodies[row])[1]))
        return seconds

    def start_process(self) -> subprocess.Popen[bytes]:
        """Start, whatever it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "log.txt").open("wb") as output:
            self.process = subprocess.Popen(
                self.command,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, **ONE_THREAD, **self.environ},
                start_new_session=True,
            )
        return self.process

    def _answers(self) -> bool:
        try:
            return ask(self.port, self.path, self.bodies[0])[0] == 200
        except (OSError, http.client.HTTPException, ValueError):
            return False

    def settle(self) -> None:
        """Return when no work of earlier requests is left."""

    def front_cpu_seconds(self) -> float:
        """Give the CPU seconds of what works while a request is on its way."""
        return cpu_seconds(self.root)

    def cpu_seconds(self) -> float:
        """Give the CPU seconds of all that is compared."""
        return cpu_seconds(self.root)

    def whole_cpu_seconds(self) -> float:
        """Give the CPU seconds of all there is."""
        return self.cpu_seconds()

    def memory_bytes(self) -> int:
        """Give the memory of all that is compared."""
        return proportional_bytes(self.root)

    def whole_memory_bytes(self) -> int:
        """Give the memory of all there is."""
        return self.memory_bytes()

    def stop(self) -> None:
        """End it and whatever it started: politely, then not."""
        if self.process is None:
            return
        started = tree(self.process.pid)
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(15)
        for pid in started:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        self.process = None


def ask(port: int, path: str, body: bytes | None = None) -> tuple[int, Any]:
    """Send one request (a GET without a body), and give status and answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        headers = {"Content-Type": "application/json"}
        connection.request("POST" if body else "GET", path, body, headers)
        answer = connection.getresponse()
        content = answer.read()
        told = answer.status == 200 and answer.headers.get_content_type() == "application/json"
        return answer.status, json.loads(content) if told else content
    finally:
        connection.close()
