"""What a gateway endures: swaps under load, more requests than it can answer, and a long steady load with everything that goes wrong."""

import contextlib
import os
import random
import signal
import statistics
import time
from dataclasses import dataclass

from benchmarks.beside import Beside
from benchmarks.load import Load, drive, drive_steadily, quantile
from benchmarks.pauses import watch
from benchmarks.processes import proportional_bytes, tree
from benchmarks.serving_ours import SLO_MS, Ours
from benchmarks.serving_sides import ask
from tournant.domain.rollout import Phase

__all__ = ["Overload", "Soak", "overload", "soak", "swap"]

SWAP_LIMIT_MS = 100.0
CAPACITY_SECONDS = 10.0
LOOK_SECONDS = 2.0  # between two looks at the memory: each keeps the gateway from getting or giving back any
OVERLOAD_CONNECTIONS = 4096  # so many that nobody waits for one: who waits, waits in the server


def swap(ours: Ours, times: int) -> tuple[int, int, Load]:
    """Swap versions under the load of 16 clients; give failed requests and those over 100 ms."""
    with Beside(watch) as watching, Beside(drive, ours.port, ours.requests, connections=16) as load:
        for number in range(times):
            ours.wait(ours.release("bench", ("challenger", "champion")[number % 2]), Phase.PROMOTED)
    found = load.found
    over = sum(ms > SWAP_LIMIT_MS for ms in found.latencies_ms)
    paused = over - sum(ms > SWAP_LIMIT_MS for ms in watching.found.missed(found))
    print(
        f"{times} swaps at c=16: {found.requests:,} requests, {found.not_answered} failed, {over} over {SWAP_LIMIT_MS:g} ms"
        f" ({paused} of them met a pause); p99 {found.quantile(0.99):.1f}, slowest {max(found.latencies_ms):.1f} ms; {watching.found}"
    )
    return found.not_answered + found.died, over, found


@dataclass(frozen=True, slots=True)
class Overload:
    """What came of twice as many requests as can be answered."""

    p99_ms: float
    p99_between_pauses_ms: float  # of those whose time met no pause of the machine's
    refused_share: float
    refusal_ms: float
    others: int
    without_retry_after: int


def overload(port: int, requests: list[bytes], capacity: float, seconds: float, name: str) -> Overload:
    """Send twice the capacity, steadily; the client's own lateness counts against the server."""
    with (
        Beside(watch) as watching,
        Beside(drive_steadily, port, requests, per_second=2 * capacity, connections=OVERLOAD_CONNECTIONS) as load,
    ):
        time.sleep(seconds)
    found, pauses = load.found, watching.found
    between = pauses.missed(found)
    told = Overload(
        p99_ms=found.quantile(0.99),
        p99_between_pauses_ms=quantile(between, 0.99),
        refused_share=len(found.refused_ms) / max(found.requests, 1),
        refusal_ms=quantile(found.refused_ms, 0.5),
        others=found.failed.total() + found.died,
        without_retry_after=found.without_retry_after,
    )
    print(
        f"{name} at twice its capacity ({2 * capacity:,.0f}/s asked): {found.per_second:,.0f}/s answered, p99 {told.p99_ms:.1f} ms,"
        f" p99.9 {found.quantile(0.999):.1f} ms; {told.refused_share:.0%} refused (median {told.refusal_ms:.1f} ms), {told.others} failed,"
        f" the client late by {quantile(found.late_ms, 0.99):.1f} ms at p99\n"
        f"  {pauses}; the {len(between):,} answers whose time met none: p99 {told.p99_between_pauses_ms:.1f} ms"
    )
    return told


@dataclass(frozen=True, slots=True)
class Soak:
    """What came of a long steady load."""

    failed: int
    memory_growth: float  # last third over first third
    p99_ms: float


def soak(ours: Ours, seconds: float) -> Soak:
    """Half of the capacity, with swaps, killed workers and a control plane that is killed and comes back.

    The capacity is what the machine can do for both deployments, and their clients, at the same time.
    """
    plain = [request.replace(b"/predict/bench", b"/predict/plain") for request in ours.requests]
    with (
        Beside(drive, ours.port, ours.requests, connections=64) as load,
        Beside(drive, ours.port, plain, connections=16) as worked,
    ):
        time.sleep(CAPACITY_SECONDS)
    capacity, worker_capacity = load.found.per_second, worked.found.per_second
    print(
        f"capacity for both together: {capacity:,.0f}/s, through the worker {worker_capacity:,.0f}/s; half of each is asked"
    )
    memory: list[float] = []
    done = {"swaps": 0, "workers killed": 0, "control planes killed": 0}
    dice = random.Random(0)
    with (
        Beside(drive_steadily, ours.port, ours.requests, per_second=capacity / 2, connections=64) as load,
        Beside(drive_steadily, ours.port, plain, per_second=worker_capacity / 2, connections=64) as worked,
    ):
        deadline = time.monotonic() + seconds
        following = {"swaps": 5.0, "workers killed": 8.0, "control planes killed": 12.0}
        due = {what: time.monotonic() + pause for what, pause in following.items()}
        look_at = 0.0
        while time.monotonic() < deadline:
            if time.monotonic() > look_at:
                memory.append(proportional_bytes(ours.pid("gateway_pids")) / 1e6)
                look_at = time.monotonic() + LOOK_SECONDS
            for what in [what for what, at in due.items() if at < time.monotonic()]:
                _harm(ours, what, done[what])
                done[what] += 1
                due[what] = time.monotonic() + following[what] * dice.uniform(0.8, 3.0)
            time.sleep(0.25)
    failed = sum(found.not_answered for found in (load.found, worked.found))
    third = max(1, len(memory) // 3)
    growth = statistics.median(memory[-third:]) / statistics.median(memory[:third])
    print(
        f"{seconds / 60:.1f} minutes at half of the capacity: {load.found.requests + worked.found.requests:,} requests, {failed} failed"
        f" ({load.found.died + worked.found.died} lost with a connection and answered when sent again); {done};"
        f" memory of the gateway {memory[0]:.0f} → {memory[-1]:.0f} MB, last third over first {growth:.3f};"
        f" p99 {load.found.quantile(0.99):.1f} ms, through the worker {worked.found.quantile(0.99):.1f} ms"
    )
    for found in (load.found, worked.found):
        if found.not_answered:
            print(f"  {len(found.refused_ms)} refused, {dict(found.failed)}")
    return Soak(failed, growth, load.found.quantile(0.99))


def _harm(ours: Ours, what: str, number: int) -> None:
    if what == "workers killed":
        workers = [pid for pid in tree(ours.pid("gateway_pids")) if _is_worker(pid)]
        for pid in workers[:1]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    elif what == "control planes killed":
        ours.kill("control_pid")
    else:
        with contextlib.suppress(Exception):  # the control plane may be down: the next swap will do
            ours.release("bench", ("challenger", "champion")[number % 2])


def _is_worker(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:  # noqa: PTH123 - of /proc
            return b"serving/worker.py" in file.read()
    except OSError:
        return False


def check_slo(port: int) -> None:
    """Refuse to go on with a server that does not answer."""
    if ask(port, "/health")[0] != 200:
        raise SystemExit(f"the gateway is not well after its overload; its SLO is {SLO_MS:g} ms")
