"""The monitor controller: takes mature units of evidence in."""

import logging

from tournant.errors import TournantError
from tournant.services.context import Context
from tournant.services.evidence import DueUnit, UnitReader
from tournant.services.monitoring import evaluate_unit, find_due_units, report_failure

__all__ = ["MonitorController"]

UNITS_PER_TICK = 50  # of one deployment: a long catching-up lets other controllers in between
_log = logging.getLogger(__name__)


class MonitorController:
    """Ticks are idempotent: a unit is taken in once, in one transaction."""

    def __init__(self, ctx: Context) -> None:
        """Watch the deployments of `ctx`."""
        self._ctx = ctx.acting_as("monitor controller")
        self._readers: dict[str, UnitReader] = {}  # by deployment: of units that are read for longer than a tick

    def tick(self) -> bool:
        """Take in what is due, and say whether anything changed, or a unit is read that has more than a tick's share."""
        changed = False
        for _ in range(UNITS_PER_TICK):
            due = find_due_units(self._ctx)
            names = {unit.deployment.name for unit in due}
            self._readers = {name: reader for name, reader in self._readers.items() if name in names}
            taken = [self._take(unit) for unit in due]
            changed |= any(taken)
            if not any(taken) or self._readers:
                break
        return changed

    def busy(self) -> bool:
        """Nothing of this goes on outside a tick."""
        return False

    def _take(self, due: DueUnit) -> bool:
        reader = self._readers.pop(due.deployment.name, None)
        try:
            if reader is None or not reader.due.same(due):
                reader = UnitReader(self._ctx, due)
            if reader.step():
                self._readers[due.deployment.name] = reader
                return True
            return evaluate_unit(self._ctx, reader.unit())
        except (TournantError, OSError) as exc:
            _log.warning("monitoring of %s from %.0f failed: %s", due.deployment.name, due.start, exc)
            report_failure(self._ctx, due, str(exc))
            return False
