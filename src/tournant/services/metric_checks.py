"""The metric checks of rollouts, read beside the control loop: a Prometheus that hangs holds nobody up."""

import threading
import time
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

from tournant.domain.check_gates import check_gate
from tournant.domain.checks import MetricCheck, Reading
from tournant.domain.rollout import Gate, Rollout
from tournant.ports import MetricSource

__all__ = ["MetricChecks"]

_KEPT = 20  # readings of a check, and twice what fails it


@dataclass(slots=True)
class _Watched:
    """One check in one step of a rollout: its newest readings, and when (monotonic) it is read next."""

    readings: deque[Reading]
    due_at: float = 0.0
    reader: threading.Thread | None = None


@dataclass(slots=True)
class _Step:
    epoch: int
    checks: dict[MetricCheck, _Watched] = field(default_factory=dict)


class MetricChecks:
    """Judges checks by the readings of the rollout's present step, which are in memory only: a restart counts anew."""

    def __init__(self, source: MetricSource) -> None:
        """Read from `source`."""
        self._source = source
        self._steps: dict[str, _Step] = {}

    def gates(self, rollout: Rollout, checks: Sequence[MetricCheck]) -> tuple[Gate, ...]:
        """Judge what has been read so far, and start reading what is due."""
        step = self._steps.get(rollout.id)
        if step is None or step.epoch != rollout.epoch:
            step = self._steps[rollout.id] = _Step(epoch=rollout.epoch)
        asked = [_for_rollout(check, rollout) for check in checks]
        for check in asked:
            watched = step.checks.setdefault(check, _Watched(deque(maxlen=max(_KEPT, 2 * check.failures))))
            self._read_if_due(check, watched)
        return tuple(check_gate(check, tuple(step.checks[check].readings)) for check in asked)

    def keep(self, rollouts: Collection[str]) -> None:
        """Forget all rollouts but these."""
        self._steps = {rollout: step for rollout, step in self._steps.items() if rollout in rollouts}

    def _read_if_due(self, check: MetricCheck, watched: _Watched) -> None:
        now = time.monotonic()
        if now < watched.due_at or (watched.reader and watched.reader.is_alive()):
            return
        watched.due_at = now + check.every_seconds
        watched.reader = threading.Thread(
            target=self._read, args=(check, watched.readings), name=f"metric check {check.name}", daemon=True
        )
        watched.reader.start()

    def _read(self, check: MetricCheck, readings: deque[Reading]) -> None:
        try:
            readings.append(Reading(value=self._source.value(check.url, check.query)))
        except Exception as exc:  # whatever a source does: what cannot be read is no verdict, and stands in the gate
            readings.append(Reading(problem=str(exc) or type(exc).__name__))


def _for_rollout(check: MetricCheck, rollout: Rollout) -> MetricCheck:
    query = check.query.replace("$deployment", rollout.deployment).replace("$revision", rollout.revision)
    return replace(check, query=query)
