"""Serving: one model behind tournant's gateway, behind five other servers, and behind nothing but uvicorn, JSON and onnxruntime.

HistGradientBoosting, 200 trees, 30 numeric columns, single JSON rows; one worker each. Each server is started, measured at 1, 16 and
64 connections and stopped, in rounds; CPU is of all its processes (of tournant of the gateway and its children; the whole, with the
control plane, beside it), memory is proportional (Pss). On two cores the client takes one. `SOAK_MINUTES` sets the length of the
soak at the end (30; a third of one with --quick).
"""

import os
import shutil
from pathlib import Path
from statistics import median

from benchmarks.beside import Beside
from benchmarks.load import after, drive, quantile
from benchmarks.pauses import watch
from benchmarks.serving_comparison import Measured, compare, measure
from benchmarks.serving_endurance import check_slo, overload, soak, swap
from benchmarks.serving_models import train
from benchmarks.serving_ours import HELD_CANARY, HELD_SHADOW, SLO_MS, Ours, first_release, make_ours
from benchmarks.serving_peers import floor, start_peers
from tournant.domain.rollout import Phase

WORK = Path("build/bench-serving").resolve()
Figure = dict[str, object]


def run(*, quick: bool) -> dict[str, Figure]:
    """Compare, then try what tournant endures; give the figures."""
    rounds, seconds = (1, 1.5) if quick else (3, 6.0)
    minutes = float(os.environ.get("SOAK_MINUTES") or (0.35 if quick else 30))
    shutil.rmtree(WORK, ignore_errors=True)
    print(f"At rest, {watch(done=after(10.0))}.")
    models = train(WORK / "models")
    ours = make_ours(models, WORK / "tournant")
    ours.start_process()
    try:
        first_release(ours, "bench", "champion")
        converted = next((ours.home / "gateway").rglob("*.onnx"))
        onnx = shutil.copyfile(converted, WORK / "model.onnx")
    finally:
        ours.stop()
    bare = floor(models, WORK / "floor", Path(onnx))
    sides = [ours, bare, *start_peers(models, WORK)]
    found = compare(sides, models, rounds=rounds, seconds=seconds)
    ours.start(models)
    ours.wait_for_control()
    try:
        more = _ours_alone(ours, found, seconds, quick=quick, minutes=minutes)
    finally:
        ours.stop()
    return {**_figures(found), **more}


def _figures(found: dict[str, Measured]) -> dict[str, Figure]:
    ours, bare = found["tournant"], found["floor"]
    peers = [measured for name, measured in found.items() if name not in ("tournant", "floor")]
    best = max(measured.per_second() for measured in peers)
    quickest = min(min(measured.cold_seconds) for measured in peers)
    smallest = min(median(measured.memory) for measured in peers)
    return {
        "requests/s, c=16, against the best peer": _at_least(ours.per_second(), best, ours.per_second() / best, 10.0),
        "requests/s, c=16, share of the floor": _at_least(
            ours.per_second(), bare.per_second(), ours.per_second() / bare.per_second(), 0.5
        ),
        "cold start to first prediction, s": _at_most(min(ours.cold_seconds), quickest, 1.5),
        "memory of the gateway, MB": _at_most(median(ours.memory), smallest, 150.0),
    }


def _ours_alone(
    ours: Ours, found: dict[str, Measured], seconds: float, *, quick: bool, minutes: float
) -> dict[str, Figure]:
    peers = [measured for name, measured in found.items() if name not in ("tournant", "floor")]
    best_cpu = min(measured.cpu() for measured in peers)
    best_p99 = min(measured.quantile(0.99) for measured in peers)
    canary, shadow, worker = Measured("tournant"), Measured("tournant"), Measured("tournant")

    held = ours.release("bench", "challenger", HELD_CANARY)
    ours.wait(held, Phase.CANARY)
    for _ in range(1 if quick else 3):
        measure(ours, canary, 16, seconds, words=", 10 % canary")
    ours.abort(held, Phase.CANARY)
    held = ours.release("bench", "challenger", HELD_SHADOW)
    ours.wait(held, Phase.SHADOW)
    for _ in range(1 if quick else 3):
        with Beside(watch) as watching:
            load = measure(ours, shadow, 16, seconds, words=", shadow")
        between = watching.found.missed(load)
        print(f"  {watching.found}; the answers whose time met none: p99 {quantile(between, 0.99):.2f} ms")
    ours.abort(held, Phase.SHADOW)

    first_release(ours, "plain", "plain")
    ours.path = "/predict/plain"
    for _ in range(1 if quick else 3):
        measure(ours, worker, 16, seconds, words=", in a worker")
    worker_requests = ours.requests
    ours.path = "/predict/bench"

    failed, over, _ = swap(ours, 6 if quick else 50)
    capacity = drive(ours.port, ours.requests, connections=64, done=after(seconds)).per_second
    flood = overload(ours.port, ours.requests, capacity, 3.0 if quick else 20.0, "the gateway")
    # 16 clients leave a worker that batches waiting for them, and of 256 some would be refused
    worker_capacity = drive(ours.port, worker_requests, connections=96, done=after(seconds)).per_second
    worker_flood = overload(ours.port, worker_requests, worker_capacity, 3.0 if quick else 20.0, "the worker")
    check_slo(ours.port)
    endured = soak(ours, 60 * minutes)
    return {
        "CPU ms/request, c=16, 10 % canary": _at_most(canary.cpu(), best_cpu, 0.20),
        "p99 ms, c=16, shadow on": _at_most(shadow.quantile(0.99), best_p99, min(10.0, best_p99)),
        "CPU ms/request through a worker, c=16": _at_most(worker.cpu(), best_cpu, best_cpu),
        "failed requests in the swaps": _at_most(failed, None, 0),
        "requests over 100 ms in the swaps": _at_most(over, None, 0),
        "p99 ms of accepted at twice the capacity": _at_most(flood.p99_ms, None, SLO_MS),
        "... through a worker": _at_most(worker_flood.p99_ms, None, SLO_MS),
        "median ms until a refusal": _at_most(max(flood.refusal_ms, worker_flood.refusal_ms), None, SLO_MS),
        "neither answered nor refused then": _at_most(flood.others + worker_flood.others, None, 0),
        "refusals without Retry-After": _at_most(flood.without_retry_after + worker_flood.without_retry_after, None, 0),
        "failed requests in the soak": _at_most(endured.failed, None, 0),
        "memory, last third of the soak over the first": _at_most(endured.memory_growth, None, 1.05),
    }


def _at_least(ours: float, peer: float, ratio: float, reach: float) -> Figure:
    return {"ours": ours, "peer": peer, "floor": None, "ratio": ratio, "reach": reach, "ok": ratio >= reach}


def _at_most(ours: float, peer: float | None, reach: float) -> Figure:
    ratio = peer / ours if peer and ours else None
    return {"ours": ours, "peer": peer, "floor": None, "ratio": ratio, "reach": reach, "ok": ours <= reach}
