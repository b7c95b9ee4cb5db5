"""Single rows over HTTP/1.1 against each server in turn: CPU, requests, latencies, memory, cold start."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks.load import Load, after, drive
from benchmarks.serving_models import Models
from benchmarks.serving_sides import NotStarted, Side

__all__ = ["CONNECTIONS", "Measured", "compare", "measure"]

CONNECTIONS = (1, 16, 64)


@dataclass(slots=True)
class Measured:
    """What was seen of one server, by connections; several rounds of each."""

    name: str
    loads: dict[int, list[Load]] = field(default_factory=dict)
    cpu_ms: dict[int, list[float]] = field(default_factory=dict)
    whole_cpu_ms: dict[int, list[float]] = field(default_factory=dict)
    cold_seconds: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)
    whole_memory: list[float] = field(default_factory=list)

    def cpu(self, connections: int = 16) -> float:
        """CPU milliseconds a request."""
        return statistics.median(self.cpu_ms[connections])

    def per_second(self, connections: int = 16) -> float:
        """Requests answered a second."""
        return statistics.median(load.per_second for load in self.loads[connections])

    def quantile(self, share: float, connections: int = 16) -> float:
        """A latency in milliseconds."""
        return statistics.median(load.quantile(share) for load in self.loads[connections])


def compare(sides: Sequence[Side], models: Models, *, rounds: int, seconds: float) -> dict[str, Measured]:
    """Start, measure and stop each server, round by round; one that does not start is named with the reason."""
    found = {side.name: Measured(side.name) for side in sides}
    out: set[str] = set()
    for _ in range(rounds):
        for side in sides:
            if side.name in out:
                continue
            try:
                found[side.name].cold_seconds.append(side.start(models))
            except NotStarted as exc:
                print(f"{side.name}: not compared: {exc}")
                out.add(side.name)
                continue
            try:
                for connections in CONNECTIONS:
                    measure(side, found[side.name], connections, seconds)
            finally:
                side.stop()
    return {name: measured for name, measured in found.items() if name not in out}


def measure(side: Side, into: Measured, connections: int, seconds: float, *, words: str = "") -> Load:
    """Measure one server that runs, after a short warming."""
    requests = side.requests
    drive(side.port, requests, connections=connections, done=after(min(1.0, seconds / 4)))
    before, whole = side.cpu_seconds(), side.whole_cpu_seconds()
    load = drive(side.port, requests, connections=connections, done=after(seconds))
    cpu, all_of_it = (
        1000 * (now - then) / max(load.requests, 1)
        for now, then in ((side.cpu_seconds(), before), (side.whole_cpu_seconds(), whole))
    )
    into.loads.setdefault(connections, []).append(load)
    into.cpu_ms.setdefault(connections, []).append(cpu)
    into.whole_cpu_ms.setdefault(connections, []).append(all_of_it)
    into.memory.append(side.memory_bytes() / 1e6)
    into.whole_memory.append(side.whole_memory_bytes() / 1e6)
    cold = f"  cold {into.cold_seconds[-1]:.2f} s" if into.cold_seconds else ""
    print(
        f"{into.name + words:<30} c={connections:<3} {load.per_second:>8,.0f}/s  {cpu:.3f} ms CPU ({all_of_it:.3f} whole)"
        f"  p50 {load.quantile(0.5):.2f}  p99 {load.quantile(0.99):.2f}  p99.9 {load.quantile(0.999):.2f} ms"
        f"  {into.memory[-1]:.0f} MB ({into.whole_memory[-1]:.0f} whole){cold}  client {load.client_share:.0%} of a core"
    )
    if load.not_answered:
        print(f"  not answered: {len(load.refused_ms)} refused, {dict(load.failed)}")
    return load
