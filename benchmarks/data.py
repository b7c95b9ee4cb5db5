"""Versioned data: the content store beside the real DVC (and git-lfs, where it is installed), on the same files in the same run.

One file of 1 GB; 50,000 files of 4 to 16 KB; 10,000 of them to a real S3 server (SeaweedFS). CPU seconds of the whole command, start-up
included, decide (ours are given twice: as measured, and as a ratio, which a busy machine changes less); wall time is printed beside them.
"""

import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.s3server import s3_server

from benchmarks import peers
from benchmarks.data_sets import change_small, grow_large, size_of, write_large, write_small

WORK = Path("build/bench-data").resolve()
ROUNDS = 3  # of what is quick
Figures = dict[str, dict[str, object]]


@dataclass(frozen=True, slots=True)
class Cost:
    """What one command took."""

    cpu_seconds: float
    wall_seconds: float
    most_bytes: int


@dataclass(slots=True)
class Side:
    """One system under test, in a folder of its own."""

    name: str
    program: Sequence[str]
    folder: Path
    environ: Mapping[str, str] = field(default_factory=dict)

    def run(self, *arguments: str, rounds: int = 1) -> Cost:
        """Run a command, and give the cheapest round."""
        costs = [_measure([*self.program, *arguments], self.folder, self.environ) for _ in range(rounds)]
        cost = min(costs, key=lambda one: one.cpu_seconds)
        print(
            f"{self.name:<9} {' '.join(arguments)[:60]:<60} {cost.cpu_seconds:8.2f} CPU-s {cost.wall_seconds:8.2f} s "
            f"{cost.most_bytes / 1e6:6.0f} MB",
            flush=True,
        )
        return cost


def run(*, quick: bool) -> Figures:
    """Compare, and give the figures."""
    scale = 50 if quick else 1
    python = peers.environment("dvc-s3", "dvc==3.67.1", "dvc-s3==3.3.0")
    shutil.rmtree(WORK, ignore_errors=True)
    ours, dvc = _ours(), _dvc(python)
    try:
        return {
            **_large(ours, dvc, 1_000_000_000 // scale),
            **_small(ours, dvc, 50_000 // scale),
            **_s3(10_000 // scale, python),
            **_growth(100_000 // scale),
        }
    finally:
        shutil.rmtree(WORK, ignore_errors=True)


def _large(ours: Side, dvc: Side, size: int) -> Figures:
    for side in (ours, dvc):
        write_large(side.folder / "large" / "large.bin", size)
    figures = {
        "add the large file, CPU-s": _figure(
            ours.run("data", "add", "large", "large"), dvc.run("add", "-q", "large"), reach=1.4, peer_then=5.65
        )
    }
    before = {side.name: _stored(side) for side in (ours, dvc)}
    grow_large(dvc.folder / "large" / "large.bin")
    true = grow_large(ours.folder / "large" / "large.bin")
    ours.run("data", "add", "large", "large")
    dvc.run("add", "-q", "large")
    stored, theirs = (_stored(side) - before[side.name] for side in (ours, dvc))
    figures["bytes stored for 1 MB inserted, 10 MB appended"] = {
        "ours": stored,
        "peer": theirs,
        "floor": true,
        "ratio": stored / true,
        "reach": 1.10,
        "ok": stored <= 1.10 * true,
    }
    figures |= _git_lfs(size)
    return figures


def _small(ours: Side, dvc: Side, count: int) -> Figures:
    for side in (ours, dvc):
        write_small(side.folder / "small", count)
    figures = {
        "add the small files, CPU-s": _figure(
            ours.run("data", "add", "small", "small"), dvc.run("add", "-q", "small"), reach=4.0, peer_then=19.9
        ),
        "status, nothing changed, CPU-s": _figure(
            ours.run("data", "status", "small", rounds=ROUNDS),
            dvc.run("status", "-q", "small.dvc", rounds=ROUNDS),
            reach=0.6,
            peer_then=2.9,
        ),
    }
    packs = ours.folder / ".tournant" / "blobs" / "packs"
    before = size_of([packs])
    change_small(dvc.folder / "small", min(100, count // 10))
    content = change_small(ours.folder / "small", min(100, count // 10))
    added = ours.run("data", "add", "small", "small"), dvc.run("add", "-q", "small")
    figures["add after changing 100 of them, CPU-s"] = _figure(*added, reach=0.7, peer_then=5.3)
    metadata = size_of([packs]) - before - content
    manifest = max(path.stat().st_size for path in (dvc.folder / ".dvc" / "cache").rglob("*.dir"))
    figures["new metadata of that, bytes"] = {
        "ours": metadata,
        "peer": manifest,
        "floor": None,
        "ratio": manifest / metadata,
        "reach": 200_000,
        "ok": metadata <= 200_000,
    }
    figures |= _push(ours, dvc)
    for side in (
        ours,
        dvc,
    ):  # not removed: ext4 looks through the inodes that were deleted lately whenever it makes a file
        (side.folder / "small").rename(side.folder / "small.before")
    out = ours.run("data", "checkout", "small", "small"), dvc.run("checkout", "-q", "small.dvc")
    figures["checkout by copy, CPU-s"] = _figure(*out, reach=5.0, peer_then=33.7)
    return figures


def _push(ours: Side, dvc: Side) -> Figures:
    ours.run("remotes", "add", "folder", str(WORK / "remote-ours"))
    dvc.run("remote", "add", "-q", "-d", "folder", str(WORK / "remote-dvc"))
    first = ours.run("data", "push", "small@2"), dvc.run("push", "-q", "small.dvc")
    again = ours.run("data", "push", "small@2", rounds=ROUNDS), dvc.run("push", "-q", "small.dvc", rounds=ROUNDS)
    return {
        "push the small files to a folder, CPU-s": _figure(*first, reach=3.0, peer_then=24.6),
        "push again, nothing new, CPU-s": _figure(*again, reach=0.6, peer_then=6.1),
    }


def _s3(count: int, python: Path) -> Figures:
    with s3_server("bench") as environ:
        requests: dict[str, int] = {}
        costs: dict[str, Cost] = {}
        for side in (_ours("s3-ours", environ), _dvc(python, "s3-dvc", environ)):
            write_small(side.folder / "small", count)
            if side.name == "tournant":
                side.run("data", "add", "small", "small")
                side.run("remotes", "add", "s3", "s3://bench/ours")
            else:
                side.run("add", "-q", "small")
                side.run("remote", "add", "-q", "-d", "s3", "s3://bench/dvc")
                side.run("remote", "modify", "s3", "endpointurl", environ["AWS_ENDPOINT_URL"])
            before = _requests(environ)
            costs[side.name] = side.run(*(("data", "push") if side.name == "tournant" else ("push", "-q")))
            requests[side.name] = _requests(environ) - before
    ratio = requests["DVC"] / requests["tournant"]
    cpu = costs["DVC"].cpu_seconds / costs["tournant"].cpu_seconds
    return {
        "push to S3, requests": {
            "ours": requests["tournant"],
            "peer": requests["DVC"],
            "floor": None,
            "ratio": ratio,
            "reach": 10.0,
            "ok": ratio >= 10,
        },
        "push to S3, CPU-s": {
            "ours": costs["tournant"].cpu_seconds,
            "peer": costs["DVC"].cpu_seconds,
            "floor": None,
            "ratio": cpu,
            "reach": 10.0,
            "ok": cpu >= 10,
        },
    }


def _requests(environ: Mapping[str, str]) -> int:
    """Give how many requests the S3 server has answered, by its own counters."""
    with urllib.request.urlopen(environ["S3_METRICS_URL"], timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return sum(int(float(line.rpartition(" ")[2])) for line in lines if line.startswith("SeaweedFS_s3_request_total"))


def _growth(most: int) -> Figures:
    """Compare the cost a file of a tenth with that of all; start-up is taken off both."""
    idle = _ours("idle").run("data", "list", rounds=ROUNDS).cpu_seconds
    costs = {}
    for count in (most // 10, most):
        side = _ours(f"growth-{count}")
        write_small(side.folder / "small", count)
        cost = side.run("data", "add", "small", "small")
        costs[count] = ((cost.cpu_seconds - idle) / count * 1e6, cost.most_bytes / 1e6)
        shutil.rmtree(side.folder)
    few, many = costs[most // 10], costs[most]
    ratio = many[0] / few[0]
    return {
        f"CPU µs a file, {most:,} files against {most // 10:,}": {
            "ours": many[0],
            "peer": None,
            "floor": few[0],
            "ratio": ratio,
            "reach": 1.2,
            "ok": ratio <= 1.2,
        },
        f"memory for {most:,} files, MB": {
            "ours": many[1],
            "peer": None,
            "floor": None,
            "ratio": None,
            "reach": 500.0,
            "ok": many[1] <= 500,
        },
    }


def _git_lfs(size: int) -> Figures:
    if not shutil.which("git-lfs"):
        print("git-lfs is not installed: no figures of it (Debian has it: apt-get install git-lfs)")
        return {}
    side = Side("git-lfs", ["git"], WORK / "git-lfs", _identity())
    side.folder.mkdir(parents=True)
    for words in (("init", "-q"), ("lfs", "install", "--local"), ("lfs", "track", "*.bin")):
        subprocess.run(["git", *words], cwd=side.folder, check=True, stdout=subprocess.DEVNULL)
    write_large(side.folder / "large.bin", size)
    side.run("add", "large.bin")
    before = size_of([side.folder / ".git"])
    grow_large(side.folder / "large.bin")
    side.run("add", "large.bin")
    print(f"git-lfs   stored {size_of([side.folder / '.git']) - before:,} bytes for the change of the large file")
    shutil.rmtree(side.folder)
    return {}


def _figure(ours: Cost, peer: Cost, *, reach: float, peer_then: float) -> dict[str, object]:
    """Compare CPU seconds.

    `reach` was set when the peer took `peer_then` on a quiet machine: what is reached in proportion counts on a busy one.
    """
    ratio = peer.cpu_seconds / ours.cpu_seconds
    ok = ours.cpu_seconds <= reach or ratio >= peer_then / reach
    return {"ours": ours.cpu_seconds, "peer": peer.cpu_seconds, "floor": None, "ratio": ratio, "reach": reach, "ok": ok}


def _ours(name: str = "ours", environ: Mapping[str, str] | None = None) -> Side:
    side = Side("tournant", [sys.executable, "-m", "tournant"], WORK / name, environ or {})
    side.folder.mkdir(parents=True)
    side.run("data", "list")  # makes the home, as `dvc init` does
    return side


def _dvc(python: Path, name: str = "dvc", environ: Mapping[str, str] | None = None) -> Side:
    side = Side(
        "DVC", [str(python.with_name("dvc"))], WORK / name, {**_identity(), **(environ or {}), "DVC_NO_ANALYTICS": "1"}
    )
    side.folder.mkdir(parents=True)
    subprocess.run(["git", "init", "-q"], cwd=side.folder, check=True)
    for words in (("init", "-q"), ("config", "cache.type", "copy"), ("config", "core.analytics", "false")):
        subprocess.run([*side.program, *words], cwd=side.folder, check=True, env={**os.environ, **side.environ})
    return side


def _identity() -> dict[str, str]:
    return dict.fromkeys(("GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME"), "bench")


def _stored(side: Side) -> int:
    home = side.folder / (".tournant/blobs" if side.name == "tournant" else ".dvc/cache")
    return size_of([home / "packs"] if side.name == "tournant" else [home])


def _measure(command: Sequence[str], folder: Path, environ: Mapping[str, str]) -> Cost:
    started = time.perf_counter()
    variables = {**os.environ, **environ}
    variables.pop("PYTHONDONTWRITEBYTECODE", None)  # users' imports are compiled once, not each time: for both sides
    process = subprocess.Popen(command, cwd=folder, env=variables, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed with exit code {process.returncode} in {folder}")
    return Cost(usage.ru_utime + usage.ru_stime, time.perf_counter() - started, usage.ru_maxrss * 1024)
