"""Pauses of the machine: moments in which its cores do a fraction of their usual work, though nothing that we see takes it.

Virtual machines on a busy host have them, tens of milliseconds long. A fixed piece of work tells them by the CPU time it
takes: waiting for a core that another process has takes none.
"""

import statistics
import time
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, field

from benchmarks.load import Load

__all__ = ["Pauses", "watch"]

BETWEEN_SECONDS = 0.001
WORK = 400  # additions, some 25 microseconds
SLOWER = 5.0  # times as slow as usual
APART_SECONDS = 0.01  # slow moments that are nearer to each other are one pause


@dataclass(slots=True)
class Pauses:
    """When the machine paused, in order, as seconds of `time.perf_counter`, of all `seconds` that were watched."""

    seconds: float = 0.0
    spans: list[tuple[float, float]] = field(default_factory=list)

    def missed(self, load: Load) -> list[float]:
        """Give the latencies, in milliseconds, of the answers whose time met no pause."""
        answers = zip(load.answered_at, load.latencies_ms, strict=True)
        return [ms for at, ms in answers if not self._met(at - ms / 1000, at)]

    def _met(self, start: float, end: float) -> bool:
        place = bisect_left(self.spans, (end, 0.0))
        return place > 0 and self.spans[place - 1][1] >= start

    def __str__(self) -> str:
        """Say how much of the time they took."""
        lengths = [1000 * (end - start) for start, end in self.spans]
        return f"the machine paused {len(lengths)} times in {self.seconds:.0f} s, {sum(lengths):.0f} ms in all, {max(lengths, default=0.0):.0f} ms at most"


def watch(*, done: Callable[[], bool]) -> Pauses:
    """Look for pauses until `done`; takes some hundredths of a core."""
    seen: list[tuple[float, float, float]] = []  # start, end, CPU seconds
    began = time.perf_counter()
    while not done():
        start, spent = time.perf_counter(), time.thread_time()
        total = 0
        for number in range(WORK):
            total += number
        spent = time.thread_time() - spent
        seen.append((start, time.perf_counter(), spent))
        time.sleep(BETWEEN_SECONDS)
    pauses = Pauses(time.perf_counter() - began)
    usual = statistics.median(spent for _, _, spent in seen)
    for start, end, spent in seen:
        if spent < SLOWER * usual:
            continue
        if pauses.spans and start - pauses.spans[-1][1] < APART_SECONDS:
            start = pauses.spans.pop()[0]
        pauses.spans.append((start, end))
    return pauses
