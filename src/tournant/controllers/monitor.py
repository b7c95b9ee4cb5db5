"""The monitor controller: takes mature units of evidence in."""

import logging

from tournant.errors import TournantError
from tournant.services.context import Context
from tournant.services.monitoring import DueUnit, evaluate_unit, find_due_units, report_failure

__all__ = ["MonitorController"]

UNITS_PER_TICK = 50  # of one deployment: a long catching-up lets other controllers in between
_log = logging.getLogger(__name__)


class MonitorController:
    """Ticks are idempotent: a unit is taken in once, in one transaction."""

    def __init__(self, ctx: Context) -> None:
        """Watch the deployments of `ctx`."""
        self._ctx = ctx.acting_as("monitor controller")

    def tick(self) -> bool:
        """Take in what is due, and say whether anything changed."""
        changed = False
        for _ in range(UNITS_PER_TICK):
            due = find_due_units(self._ctx)
            taken = [self._take(unit) for unit in due]
            changed |= any(taken)
            if not any(taken):
                break
        return changed

    def busy(self) -> bool:
        """Nothing of this goes on outside a tick."""
        return False

    def _take(self, due: DueUnit) -> bool:
        try:
            return evaluate_unit(self._ctx, due)
        except (TournantError, OSError) as exc:
            _log.warning("monitoring of %s from %.0f failed: %s", due.deployment.name, due.start, exc)
            report_failure(self._ctx, due, str(exc))
            return False
