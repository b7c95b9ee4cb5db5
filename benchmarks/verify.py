"""Pipelines, environments and verification, with the real DVC beside it where it has the same work.

A pipeline of 20 steps with nothing to do, and one of 20 independent one-second steps, as `tournant run` and as `dvc repro` (CPU
seconds of the whole command, its children included; wall seconds where that is the point); environments of scikit-learn, warm and
with nothing in uv's cache (the best of a few, since it is wall time on a shared machine); and what `tournant verify` costs over the training that it repeats.
"""

import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import peers

WORK = Path("build/bench-verify").resolve()
STEPS = 20
TOURNANT = [sys.executable, "-m", "tournant"]
SKLEARN = "joblib==1.5.2\nnumpy==2.3.4\npandas==2.3.3\npyarrow==21.0.0\nscikit-learn==1.7.2\nscipy==1.16.2\n"


@dataclass(frozen=True, slots=True)
class Cost:
    """What a command took."""

    cpu_seconds: float
    wall_seconds: float


def run(*, quick: bool) -> dict[str, dict[str, object]]:
    """Compare, and give the figures."""
    shutil.rmtree(WORK, ignore_errors=True)
    dvc = peers.environment("dvc", "dvc==3.67.1").with_name("dvc")
    rounds = 2 if quick else 5
    return {
        **_idle_pipeline(dvc, rounds),
        **_parallel_steps(dvc, seconds=0.2 if quick else 1.0),
        **_environments(rounds),
        **_verification(rounds),
    }


def _idle_pipeline(dvc: Path, rounds: int) -> dict[str, dict[str, object]]:
    steps = {
        f"s{i}": (f"cat o{i - 1}.txt > o{i}.txt" if i else "echo 0 > o0.txt", [f"o{i - 1}.txt"] if i else [])
        for i in range(STEPS)
    }
    ours, peer = _write(WORK / "idle", steps), _write_dvc(dvc, WORK / "idle-dvc", steps)
    _measure([*TOURNANT, "run"], ours)
    _measure([str(dvc), "repro", "-q"], peer)
    costs: dict[str, list[float]] = {"ours": [], "peer": []}
    for _ in range(rounds):  # alternately, so that both meet the same machine
        costs["ours"].append(_measure([*TOURNANT, "run"], ours).cpu_seconds)
        costs["peer"].append(_measure([str(dvc), "repro", "-q"], peer).cpu_seconds)
    mine, theirs = (statistics.median(costs[side]) for side in ("ours", "peer"))
    return {
        "20 steps, nothing to do, CPU-s": _figure(mine, theirs, theirs / mine, reach=4.0),
        "... CPU-s by itself": _figure(mine, None, None, reach=0.5, at_most=True),
    }


def _parallel_steps(dvc: Path, *, seconds: float) -> dict[str, dict[str, object]]:
    steps: dict[str, tuple[str, list[str]]] = {
        f"s{i}": (f"sleep {seconds} && touch o{i}.txt", []) for i in range(STEPS)
    }
    ours = _measure([*TOURNANT, "run", "--jobs", "2"], _write(WORK / "parallel", steps)).wall_seconds
    peer = _measure([str(dvc), "repro", "-q"], _write_dvc(dvc, WORK / "parallel-dvc", steps)).wall_seconds
    return {"20 one-second steps, 2 jobs, share of wall": _figure(ours, peer, ours / peer, reach=0.6, at_most=True)}


def _environments(rounds: int) -> dict[str, dict[str, object]]:
    from tournant.adapters.environments.uv import UvEnvironments
    from tournant.config import Settings

    cache = WORK / "uv-cache"
    settings = Settings(home=WORK / "environments", environ={**os.environ, "UV_CACHE_DIR": str(cache)})
    environments = UvEnvironments(settings)
    locked = environments.lock(python="", requirements=SKLEARN)
    shutil.rmtree(cache, ignore_errors=True)
    walls = []
    for _ in range(1 + rounds):
        started = time.monotonic()
        environments.build(locked)
        walls.append(time.monotonic() - started)
        environments.remove(locked.digest)
    return {
        "scikit-learn environment, warm, wall s": _figure(min(walls[1:]), None, None, reach=0.5, at_most=True),
        "scikit-learn environment, cold, wall s": _figure(walls[0], None, None, reach=10.0, at_most=True),
    }


def _verification(rounds: int) -> dict[str, dict[str, object]]:
    folder = WORK / "churn"
    _measure([*TOURNANT, "init", str(folder)], WORK)
    _measure([*TOURNANT, "run"], folder)
    python = subprocess.run(
        [*TOURNANT, "environments", "build", "churn@1"], cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()
    _measure([*TOURNANT, "verify", "churn@1"], folder)
    params = WORK / "params.json"
    params.write_text(json.dumps({"max_iter": 200}))
    environ = {**os.environ, "TOURNANT_PARAMS": str(params), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    overheads = []
    for _ in range(rounds):
        copy = WORK / "training"
        shutil.rmtree(copy, ignore_errors=True)
        copy.mkdir()
        shutil.copy(folder / "train.py", copy)
        training = _measure([python, "train.py"], copy, environ).cpu_seconds
        overheads.append(_measure([*TOURNANT, "verify", "churn@1"], folder).cpu_seconds - training)
    return {
        "verify, over the training itself, CPU-s": _figure(
            statistics.median(overheads), None, None, reach=2.0, at_most=True
        )
    }


def _write(folder: Path, steps: dict[str, tuple[str, list[str]]]) -> Path:
    folder.mkdir(parents=True)
    pipeline = {
        name: {"run": command, "deps": deps, "outs": [f"o{name[1:]}.txt"]} for name, (command, deps) in steps.items()
    }
    (folder / "tournant.yaml").write_text(json.dumps({"project": folder.name, "pipeline": pipeline}))
    return folder


def _write_dvc(dvc: Path, folder: Path, steps: dict[str, tuple[str, list[str]]]) -> Path:
    folder.mkdir(parents=True)
    stages = {
        name: {"cmd": command, "deps": deps, "outs": [f"o{name[1:]}.txt"]} for name, (command, deps) in steps.items()
    }
    (folder / "dvc.yaml").write_text(json.dumps({"stages": stages}))  # YAML takes JSON
    _measure([str(dvc), "init", "--no-scm", "-q"], folder)
    _measure([str(dvc), "config", "core.analytics", "false"], folder)
    return folder


def _measure(command: Sequence[str], folder: Path, environ: dict[str, str] | None = None) -> Cost:
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    environ = {**(environ or os.environ)}
    environ.pop("PYTHONDONTWRITEBYTECODE", None)  # users' imports are compiled once, not each time: for both sides
    done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed in {folder}:\n{done.stderr}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(cpu, time.monotonic() - started)


def _figure(
    ours: float, peer: float | None, ratio: float | None, *, reach: float, at_most: bool = False
) -> dict[str, object]:
    reached = ours if ratio is None else ratio
    ok = reached <= reach if at_most else reached >= reach
    return {"ours": ours, "peer": peer, "floor": None, "ratio": reached, "reach": reach, "ok": ok}
