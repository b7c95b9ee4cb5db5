"""Messages as log lines."""

import logging
import sys

import structlog

from tournant.domain.alerts import Severity
from tournant.domain.notifications import Message

__all__ = ["LogNotifier"]

_LEVELS = {Severity.CRITICAL: logging.ERROR, Severity.WARNING: logging.WARNING, Severity.INFO: logging.INFO}


class LogNotifier:
    """Writes every message to the log; the one notifier that needs no set-up."""

    name = "log"

    def notify(self, message: Message) -> None:
        """Log an error for what is critical, a warning for what warns, else a note."""
        event = message.event
        logger = structlog.wrap_logger(structlog.PrintLogger(sys.stderr))  # stdout is a command's answer
        logger.log(
            _LEVELS[message.severity],
            message.title,
            kind=event.kind,
            subject=event.subject,
            actor=event.actor,
            summary=event.summary,
        )
