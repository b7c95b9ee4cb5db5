"""Runs in MLflow's environment: does a piece of work with the real client, and prints what it cost as one line of JSON.

python tracking_client.py URL SERVER_PID WORK [COUNT]
"""

import json
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import mlflow
import requests
from mlflow import MlflowClient
from mlflow.entities import Metric
from processes import cpu_seconds

POINTS = 1000


def measure(name: str, server: int, count: int, work: Callable[[int], object]) -> dict[str, object]:
    """Do a piece of work `count` times after once for warmth; give wall and server CPU milliseconds each."""
    work(-1)
    waits = []
    before, began = cpu_seconds(server), time.perf_counter()
    for i in range(count):
        started = time.perf_counter()
        work(i)
        waits.append(1000 * (time.perf_counter() - started))
    wall = time.perf_counter() - began
    cpu = cpu_seconds(server) - before
    return {
        "name": name,
        "cpu_ms": 1000 * cpu / count,
        "wall_ms": 1000 * wall / count,
        "p95_ms": sorted(waits)[int(0.95 * count)],
    }


def batch(step: int) -> list[Metric]:
    """Make a batch of points."""
    return [Metric(f"m{i % 10}", i / 7, 1_700_000_000_000 + step, step * POINTS + i) for i in range(POINTS)]


def small_calls(client: MlflowClient, server: int, count: int) -> list[dict[str, object]]:
    """Create runs, log single points, read a run, log batches."""
    run = client.create_run("0").info.run_id
    other = client.create_run("0").info.run_id
    return [
        measure("create run", server, count, lambda _: client.create_run("0")),
        measure("log_metric", server, count, lambda i: client.log_metric(run, "loss", i, step=i)),
        measure("get run", server, count, lambda _: client.get_run(run)),
        measure(
            "log_batch of 1000 metrics", server, max(5, count // 10), lambda i: client.log_batch(other, batch(i + 2))
        ),
    ]


def threads(client: MlflowClient, server: int, count: int) -> list[dict[str, object]]:
    """Log batches from 8 threads, each to a run of its own, and read all of it back."""
    runs = [client.create_run("0").info.run_id for _ in range(8)]
    batches, waits, failures = [batch(i) for i in range(count)], [], []

    def work(run: str) -> None:
        for metrics in batches:
            started = time.perf_counter()
            try:
                client.log_batch(run, metrics)
            except Exception as exc:
                failures.append(repr(exc))
            waits.append(1000 * (time.perf_counter() - started))

    before, began = cpu_seconds(server), time.perf_counter()
    each = [threading.Thread(target=work, args=(run,)) for run in runs]
    for thread in each:
        thread.start()
    for thread in each:
        thread.join()
    wall = time.perf_counter() - began
    cpu = cpu_seconds(server) - before
    found = sum(len(client.get_metric_history(run, f"m{i}")) for run in runs for i in range(10))
    waits.sort()
    return [
        {
            "name": "8 threads of log_batch",
            "cpu_ms": 1000 * cpu / len(waits),
            "wall_ms": 1000 * wall / len(waits),
            "p95_ms": waits[int(0.95 * len(waits))],
            "per_second": len(waits) * POINTS / wall,
            "failed": len(failures),
            "lost": len(waits) * POINTS - found,
        }
    ]


def searches(client: MlflowClient, server: int, count: int) -> list[dict[str, object]]:
    """Find the best runs of an experiment that is there already."""

    def top(_: int) -> None:
        found = client.search_runs(
            ["0"], "metrics.m0 > 0.5 and params.p0 = '3'", order_by=["metrics.m1 DESC"], max_results=50
        )
        assert len(found) == 50, len(found)

    def many(_: int) -> None:
        found = client.search_runs(["0"], order_by=["metrics.m1 DESC"], max_results=1000)
        assert len(found) == 1000, len(found)

    return [measure("search top 50", server, count, top), measure("search top 1000", server, max(2, count // 5), many)]


def histories(client: MlflowClient, server: int, count: int) -> list[dict[str, object]]:
    """Read a history of 100,000 points, and 50 histories of 1000 points sampled to 320."""
    run = client.create_run("0").info.run_id
    for start in range(0, 100_000, POINTS):
        client.log_batch(run, [Metric("loss", i / 7, i, i) for i in range(start, start + POINTS)])
    runs = [client.create_run("0").info.run_id for _ in range(50)]
    for each in runs:
        client.log_batch(each, [Metric("loss", i / 7, i, i) for i in range(POINTS)])
    host = mlflow.get_tracking_uri()
    session = requests.Session()

    def whole(_: int) -> None:
        assert len(client.get_metric_history(run, "loss")) == 100_000

    def sampled(_: int) -> None:
        asked = [("run_ids", each) for each in runs] + [("metric_key", "loss"), ("max_results", "320")]
        answer = session.get(f"{host}/ajax-api/2.0/mlflow/metrics/get-history-bulk-interval", params=asked)
        assert len(answer.json()["metrics"]) >= 50 * 318, len(answer.json()["metrics"])

    return [
        measure("history of 100,000 points", server, count, whole),
        measure("bulk-interval 50 x 1000 -> 320", server, count, sampled),
    ]


WORKS: dict[str, Callable[[MlflowClient, int, int], Sequence[dict[str, object]]]] = {
    "small": small_calls,
    "threads": threads,
    "searches": searches,
    "histories": histories,
}


if __name__ == "__main__":
    address, server_pid, name, times = sys.argv[1:]
    mlflow.set_tracking_uri(address)
    for figure in WORKS[name](MlflowClient(), int(server_pid), int(times)):
        print(json.dumps(figure))
