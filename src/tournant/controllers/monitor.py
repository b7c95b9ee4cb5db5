"""The monitor controller: takes mature units of evidence in, then tells people what opened and closed."""

import logging

from tournant.domain.alerts import Alert
from tournant.errors import TournantError
from tournant.services.alerting import Notice, forget_notices, list_notices
from tournant.services.context import Context
from tournant.services.monitoring import DueUnit, evaluate_unit, find_due_units, report_failure

__all__ = ["MonitorController"]

UNITS_PER_TICK = 50  # of one deployment: a long catching-up lets other controllers in between
_log = logging.getLogger(__name__)


class MonitorController:
    """Ticks are idempotent: a unit is taken in once, in one transaction; notifications are delivered at least once."""

    def __init__(self, ctx: Context) -> None:
        """Watch the deployments of `ctx`."""
        self._ctx = ctx.acting_as("monitor controller")

    def tick(self) -> bool:
        """Take in what is due, deliver what is to be told, and say whether anything changed."""
        changed = False
        for _ in range(UNITS_PER_TICK):
            due = find_due_units(self._ctx)
            taken = [self._take(unit) for unit in due]
            changed |= any(taken)
            if not any(taken):
                break
        return self._deliver() or changed

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

    def _deliver(self) -> bool:
        """Notify of opened and closed alerts, then forget them: a kill in between tells twice rather than never."""
        waiting = list_notices(self._ctx)
        for deployment, notices in waiting.items():
            for notice in notices:
                self._notify(notice)
            forget_notices(self._ctx, deployment, notices)
        return bool(waiting)

    def _notify(self, notice: Notice) -> None:
        with self._ctx.transactions.begin(write=False) as uow:
            alert = uow.get(Alert, notice.alert)
        if alert is None:
            return
        for notifier in self._ctx.notifiers:
            try:
                notifier.notify(alert, opened=notice.opened)
            except Exception:  # whatever a notifier does, monitoring goes on
                _log.exception("notifier %s failed for alert %s", type(notifier).__name__, alert.id)
