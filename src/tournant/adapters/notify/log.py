"""Alerts as log lines."""

from collections.abc import Callable
from typing import Any

import structlog

from tournant.domain.alerts import Alert, Severity

__all__ = ["LogNotifier"]


class LogNotifier:
    """Writes every alert to the log; the one notifier that needs no set-up."""

    def notify(self, alert: Alert, *, opened: bool) -> None:
        """Log a warning (an error for a critical alert) when an alert opens, a note when it closes."""
        logger = structlog.get_logger("tournant.alerts")
        write = _writer(logger, alert.severity) if opened else logger.info
        write(
            "alert opened" if opened else "alert closed",
            alert=alert.id,
            deployment=alert.deployment,
            kind=alert.kind.value,
            severity=alert.severity.value,
            value=alert.value,
            limit=alert.limit,
            summary=alert.summary,
        )


def _writer(logger: structlog.stdlib.BoundLogger, severity: Severity) -> Callable[..., Any]:
    return {Severity.CRITICAL: logger.error, Severity.WARNING: logger.warning}.get(severity, logger.info)
