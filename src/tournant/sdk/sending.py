"""Sending what scripts have left on disk."""

from dataclasses import dataclass, field

from tournant.config import Settings
from tournant.errors import TournantError
from tournant.sdk.recording.destination import find_destination
from tournant.sdk.recording.journal import Call, Header, Journal
from tournant.sdk.recording.process import journal_folder
from tournant.sdk.recording.recorder import keep_refused, send_next

__all__ = ["Sending", "send_waiting"]


@dataclass(slots=True)
class Sending:
    """What became of journals, by path: how many calls were sent, or why they still wait."""

    sent: dict[str, int] = field(default_factory=dict)
    waiting: dict[str, str] = field(default_factory=dict)


def send_waiting() -> Sending:
    """Send every journal whose process is gone, each to where it was for."""
    settings, told = Settings.load(), Sending()
    folder = journal_folder(settings)
    for journal in Journal.left(folder):
        path, count = str(journal.path), 0

        def refuse(call: Call, error: TournantError, header: Header = journal.header) -> None:
            keep_refused(folder, header, call, error)

        try:
            destination = find_destination(settings, actor=journal.header.actor, address=journal.header.address)
            while journal.waiting_bytes:
                count += send_next(journal, destination, refuse)
        except TournantError as exc:
            told.waiting[path] = exc.message
        else:
            told.sent[path] = count
        finally:
            journal.close()
    for path in map(str, sorted(folder.glob("*.journal"))):
        told.waiting.setdefault(path, "a script that runs holds it, or its first line cannot be read")
    return told
