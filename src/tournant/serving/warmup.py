"""The latency gate's evidence: requests replayed on a candidate and, at the same moment, on stable."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from tournant.domain.control import RevisionStatus
from tournant.serving.failures import ModelFailed
from tournant.serving.held import Held, Outcome
from tournant.serving.latency import quantile
from tournant.serving.schema import Row, RowSchema

__all__ = ["Probe", "run_probe"]

PAUSE_SECONDS = 0.002  # between probes: real requests go first
UNCOUNTED = 3  # first calls allocate and fill caches; real traffic meets them once
TIMEOUT_SECONDS = 5.0
ENOUGH_PROBES = 20  # nine of ten over the SLO in as many need no more of anybody's time
ENOUGH_UNANSWERED = 3  # as many that were not answered at all, one after the other, are proof


@dataclass(slots=True)
class Probe:
    """What the replayed requests showed; latencies in milliseconds."""

    candidate_ms: list[float] = field(default_factory=list)
    stable_ms: list[float] = field(default_factory=list)
    errors: int = 0
    over_slo: int = 0
    last_error: str = ""

    def status(self, revision: str, mode: str) -> RevisionStatus:
        """Give the evidence as a gateway reports it."""
        candidate, stable = sorted(self.candidate_ms), sorted(self.stable_ms)
        return RevisionStatus(
            revision=revision,
            state="ready",
            mode=mode,
            error=self.last_error,
            probes=len(candidate),
            probe_errors=self.errors,
            probe_over_slo=self.over_slo,
            p50_ms=quantile(candidate, 0.5),
            p99_ms=quantile(candidate, 0.99),
            stable_p50_ms=quantile(stable, 0.5),
            stable_p99_ms=quantile(stable, 0.99),
        )


async def run_probe(
    candidate: Held, stable: Held | None, samples: Sequence[tuple[RowSchema, Row]], count: int, slo_ms: float
) -> Probe:
    """Replay `count` of `samples`, candidate and stable in turn, by the same path as real requests.

    Stops early on a candidate that is over the SLO nearly always while stable is not: the counts are those of what was
    replayed.
    """
    probe = Probe()
    if not samples:
        return probe
    for index in range(-UNCOUNTED, count):
        schema, row = samples[index % len(samples)]
        outcome = await _ask(candidate, schema, row)
        beside = await _ask(stable, schema, row) if stable else None
        if index >= 0:
            _note(probe, outcome, beside, slo_ms)
        if _hopeless(probe, slo_ms):
            break
        await asyncio.sleep(PAUSE_SECONDS)
    return probe


def _hopeless(probe: Probe, slo_ms: float) -> bool:
    probes = len(probe.candidate_ms)
    last = probe.candidate_ms[-ENOUGH_UNANSWERED:]
    if len(last) == ENOUGH_UNANSWERED and min(last) >= TIMEOUT_SECONDS * 1e3:
        return True
    if probes < ENOUGH_PROBES or probe.over_slo < 0.9 * probes:
        return False
    return max(probe.stable_ms, default=0.0) <= slo_ms


async def _ask(held: Held, schema: RowSchema, row: Row) -> Outcome:
    try:
        values = schema.values(held.signature)(row)
    except ModelFailed as exc:
        return Outcome(None, 0.0, exc)
    return await held.ask([values], TIMEOUT_SECONDS)


def _note(probe: Probe, outcome: Outcome, beside: Outcome | None, slo_ms: float) -> None:
    probe.candidate_ms.append(outcome.latency_ms)
    if outcome.error:
        probe.errors += 1
        probe.last_error = outcome.error.message
    if outcome.latency_ms > slo_ms:
        probe.over_slo += 1
    if beside and not beside.error:
        probe.stable_ms.append(beside.latency_ms)
