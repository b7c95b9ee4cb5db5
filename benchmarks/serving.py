"""Serving: a converted model behind tournant's gateway against the same model in MLServer.

HistGradientBoosting, 200 trees, 30 numeric columns, single JSON rows, 16 connections; both sides alternately, three rounds each, one
worker each, recording of predictions on at tournant. Requests a second and CPU milliseconds a request (server side, all processes).
"""

import asyncio
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks import peers
from benchmarks.load import Load, drive, request_bytes
from benchmarks.processes import cpu_seconds

WORK = Path("build/bench-serving").resolve()
COLUMNS, TREES, CONNECTIONS, ROUNDS = 30, 200, 16, 3
CONTROL_PORT, GATEWAY_PORT, PEER_PORT = 15_000, 18_080, 18_081
REACH = 10.0

TRAIN = f"""
import json, joblib, numpy as np, pandas as pd, sys
from sklearn.ensemble import HistGradientBoostingClassifier
rng = np.random.default_rng(0)
names = [f"x{{i}}" for i in range({COLUMNS})]
X = rng.normal(size=(20_000, {COLUMNS})).astype(np.float32)
y = X[:, 0] + X[:, 1] * X[:, 2] + rng.normal(size=20_000) > 0
model = HistGradientBoostingClassifier(max_iter={TREES}, early_stopping=False, random_state=0)
frame = pd.DataFrame(X, columns=names)
if sys.argv[1] == "frame":
    model.fit(frame, y)
else:
    model.fit(X, y)
joblib.dump(model, sys.argv[2] + "/model.pkl" if sys.argv[1] == "frame" else sys.argv[2] + "/model.joblib")
json.dump(frame.head(64).astype(float).to_dict("records"), open(sys.argv[2] + "/input_example.json", "w"))
"""


@dataclass(slots=True)
class Side:
    """One server under load."""

    name: str
    process: subprocess.Popen[bytes]
    port: int
    requests: list[bytes]
    loads: list[Load]
    cpu_ms: list[float]


def run(*, quick: bool) -> dict[str, dict[str, object]]:
    """Compare, and give the figures."""
    count = {"ours": 2_000 if quick else 20_000, "peer": 300 if quick else 2_000}
    python = peers.environment(
        "mlserver", "mlserver==1.7.1", "mlserver-sklearn==1.7.1", "uvloop==0.21.0", "pandas", "joblib"
    )
    shutil.rmtree(WORK, ignore_errors=True)
    ours = _start_ours(python, count["ours"])
    peer = _start_peer(python, count["peer"])
    try:
        for side in (ours, peer):  # warm both
            asyncio.run(drive(side.port, side.requests[:200], connections=CONNECTIONS))
        for _ in range(ROUNDS):
            for side in (ours, peer):
                _measure(side)
    finally:
        for side in (ours, peer):
            side.process.send_signal(signal.SIGTERM)
            side.process.wait(15)
    failed = {side.name: sum(load.failed for load in side.loads) for side in (ours, peer)}
    if any(failed.values()):
        raise SystemExit(f"failed requests: {failed}")
    return _figures(ours, peer)


def _figures(ours: Side, peer: Side) -> dict[str, dict[str, object]]:
    speed = [statistics.median(load.per_second for load in side.loads) for side in (ours, peer)]
    cpu = [statistics.median(side.cpu_ms) for side in (ours, peer)]
    p99 = [statistics.median(load.quantile(0.99) for load in side.loads) for side in (ours, peer)]
    return {
        "requests/s, converted model, c=16": _figure(speed[0], speed[1], speed[0] / speed[1]),
        "CPU ms/request, converted model, c=16": _figure(cpu[0], cpu[1], cpu[1] / cpu[0]),
        "p99 ms, converted model, c=16": _figure(p99[0], p99[1], p99[1] / p99[0], reach=1.0),
    }


def _figure(ours: float, peer: float, ratio: float, reach: float = REACH) -> dict[str, object]:
    return {"ours": ours, "peer": peer, "floor": None, "ratio": ratio, "reach": reach, "ok": ratio >= reach}


def _measure(side: Side) -> None:
    before = cpu_seconds(side.process.pid)
    load = asyncio.run(drive(side.port, side.requests, connections=CONNECTIONS))
    side.loads.append(load)
    side.cpu_ms.append(1000 * (cpu_seconds(side.process.pid) - before) / load.requests)
    print(
        f"{side.name:<10} {load.per_second:>9,.0f} requests/s  {side.cpu_ms[-1]:.3f} ms CPU  p99 {load.quantile(0.99):.1f} ms"
    )


def _start_ours(python: Path, count: int) -> Side:
    folder, home = WORK / "model", WORK / "home"
    folder.mkdir(parents=True)
    subprocess.run([str(python), "-c", TRAIN, "frame", str(folder)], check=True)
    command = [sys.executable, "-m", "tournant"]
    process = subprocess.Popen(
        [*command, "up", "--home", str(home), "--port", str(CONTROL_PORT), "--gateway-port", str(GATEWAY_PORT)]
    )
    _until(lambda: _answers(f"http://127.0.0.1:{GATEWAY_PORT}/health"))
    example = str(folder / "input_example.json")
    subprocess.run(
        [
            *command,
            "deploy",
            str(folder / "model.pkl"),
            "--name",
            "bench",
            "--home",
            str(home),
            "--example",
            example,
            "--wait",
        ],
        check=True,
    )
    rows = json.loads((folder / "input_example.json").read_text())
    bodies = [json.dumps({"inputs": row}).encode() for row in rows]
    requests = [request_bytes(GATEWAY_PORT, "/predict/bench", bodies[i % len(bodies)]) for i in range(count)]
    return Side("tournant", process, GATEWAY_PORT, requests, [], [])


def _start_peer(python: Path, count: int) -> Side:
    folder = WORK / "peer"
    folder.mkdir(parents=True)
    subprocess.run([str(python), "-c", TRAIN, "matrix", str(folder)], check=True)
    settings = {
        "host": "127.0.0.1",
        "http_port": PEER_PORT,
        "grpc_port": 18_082,
        "metrics_port": 18_083,
        "parallel_workers": 1,
        "debug": False,
    }
    model = {
        "name": "bench",
        "implementation": "mlserver_sklearn.SKLearnModel",
        "parameters": {"uri": "./model.joblib"},
    }
    (folder / "settings.json").write_text(json.dumps(settings))
    (folder / "model-settings.json").write_text(json.dumps(model))
    output = (WORK / "mlserver.log").open("wb")
    process = subprocess.Popen(
        [str(python.parent / "mlserver"), "start", str(folder)],
        stdout=output,
        stderr=output,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    _until(lambda: _answers(f"http://127.0.0.1:{PEER_PORT}/v2/models/bench/ready"))
    rows = json.loads((folder / "input_example.json").read_text())
    bodies = [json.dumps(_v2(list(row.values()))).encode() for row in rows]
    requests = [request_bytes(PEER_PORT, "/v2/models/bench/infer", bodies[i % len(bodies)]) for i in range(count)]
    return Side("MLServer", process, PEER_PORT, requests, [], [])


def _v2(values: list[float]) -> dict[str, object]:
    inputs = [{"name": "x", "shape": [1, COLUMNS], "datatype": "FP32", "data": values}]
    return {"inputs": inputs, "outputs": [{"name": "predict_proba"}]}


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _until(ready: Callable[[], bool], timeout_seconds: float = 90.0) -> None:
    deadline = time.monotonic() + timeout_seconds
    while not ready():
        if time.monotonic() > deadline:
            raise SystemExit("a server did not get ready")
        time.sleep(0.1)
