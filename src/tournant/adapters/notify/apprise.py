"""Messages by e-mail, Slack, Teams and whatever else apprise reaches (the extra `alerts`)."""

import logging
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tournant.adapters.notify.address import name_of
from tournant.domain.alerts import Severity
from tournant.domain.notifications import Message
from tournant.errors import Invalid, Unavailable

__all__ = ["AppriseNotifier"]

_GOOD = frozenset({"alert.closed", "rollout.promoted"})
_TYPES = {Severity.CRITICAL: "failure", Severity.WARNING: "warning", Severity.INFO: "info"}
_CAUSE = (
    "Socket Exception: "  # in a debug line apprise gives the network's own words, and after `with url:` the address
)
_ADDRESS = re.compile(r" with url: \S+")


class AppriseNotifier:
    """Sends to one of apprise's addresses: `mailto://…`, `slack://…`, a Slack or Teams webhook as they hand it out."""

    def __init__(self, url: str) -> None:
        """Send to `url`, of which only the scheme is ever shown: all else may be secret."""
        self._url = url
        scheme = url.partition("://")[0]
        self.name = name_of(url, scheme if scheme.isalnum() and scheme != url else "address")

    def notify(self, message: Message) -> None:
        """Send title and text; Unavailable with what apprise says when it did not work."""
        service = self._open()
        kind = "success" if message.event.kind in _GOOD else _TYPES[message.severity]
        with _complaints() as heard:
            taken = service.notify(title=message.title, body=message.text, notify_type=kind, body_format="text")
        if not taken:
            raise Unavailable(" ".join(heard) or "apprise gives no reason", place=self.name)

    def _open(self) -> Any:
        try:
            import apprise
        except ImportError as exc:
            raise Unavailable("it needs apprise. Install it: pip install 'tournant[alerts]'", place=self.name) from exc
        service = apprise.Apprise.instantiate(self._url)
        if service is None:
            raise Invalid(f"apprise {apprise.__version__} knows no such address; see TOURNANT_NOTIFY", place=self.name)
        return service


class _Complaints(logging.Handler):
    """Keeps what apprise says went wrong in the thread that made it; the rest of what it logs may hold the address."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[str] = []
        self._of = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a warning or a cause."""
        words = record.getMessage()
        if record.thread == self._of and (record.levelno >= logging.WARNING or words.startswith(_CAUSE)):
            self.heard.append(_ADDRESS.sub("", words.removeprefix(_CAUSE)))


@contextmanager
def _complaints() -> Iterator[list[str]]:
    """Collect the reasons of apprise, which answers with true or false only and logs why."""
    complaints, logger = _Complaints(), logging.getLogger("apprise")
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    logger.addHandler(complaints)
    try:
        yield complaints.heard
    finally:
        logger.removeHandler(complaints)
