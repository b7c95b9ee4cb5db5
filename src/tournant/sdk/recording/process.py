"""One process that logs: its recorder, the runs that are active in it, and how both end with it."""

import atexit
import getpass
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from tournant.config import Settings
from tournant.errors import Invalid
from tournant.sdk.recording.destination import find_destination
from tournant.sdk.recording.journal import Call
from tournant.sdk.recording.recorder import LOST_SECONDS, Recorder

__all__ = ["LoggingProcess", "journal_folder"]

EXIT_SECONDS = 10.0  # that the end of a script waits for a server
SIGTERM_SECONDS = 3.0
_STATUS = {"FINISHED": "successful", "FAILED": "failed", "KILLED": "cancelled"}


class Tracked(Protocol):
    """A run; `kept` if it is somebody else's to end."""

    id: str
    kept: bool


Run = TypeVar("Run", bound=Tracked)


class LoggingProcess(Generic[Run]):
    """Opens a recorder when something is logged, and ends what is active when the process ends: by itself, by an exception or by SIGTERM."""

    def __init__(self) -> None:
        """Open nothing yet."""
        self.opened: Recorder | None = None
        self.runs: list[Run] = []  # of the whole process, the newest last
        self._own = threading.local()  # ... and of each thread
        self._lock = threading.RLock()
        self._hooked = self._forked = False

    def recorder(self) -> Recorder:
        """Give the recorder."""
        found = self.opened
        if found is None:
            with self._lock:
                if self.opened is None:
                    settings, actor = Settings.load(), _actor()
                    destination = find_destination(settings, actor=actor)
                    self.opened = Recorder(destination, journal_folder(settings), actor=actor)
                    self._hook()
                found = self.opened
        return found

    def own(self) -> list[Run]:
        """Give the runs that this thread has started, the newest last."""
        runs: list[Run] | None = getattr(self._own, "runs", None)
        if runs is None:
            runs = self._own.runs = []
        return runs

    def begin(self, run: Run) -> None:
        """Take in a run that this thread has started."""
        self.own().append(run)
        self.runs.append(run)

    def end(self, run: Run, status: str, error: BaseException | None) -> None:
        """End a run, and wait until what it logged is kept, if the server answers."""
        if status not in _STATUS:
            raise Invalid(f"a run ends as {', '.join(_STATUS)}, not as {status!r}", place="status")
        for runs in (self.own(), self.runs):
            if run in runs:
                runs.remove(run)
        recorder = self.recorder()
        _finish(recorder, run, status, error)
        recorder.flush(EXIT_SECONDS, lost_seconds=LOST_SECONDS)

    def close(self, status: str = "", timeout_seconds: float = EXIT_SECONDS) -> None:
        """End what is active and send what waits; without a status, an exception that nobody caught makes runs failed."""
        recorder, error = self.opened, None
        if recorder is None:
            return
        if not status:
            error = None if hasattr(sys, "ps1") else getattr(sys, "last_exc", None) or getattr(sys, "last_value", None)
            status = "FAILED" if error else "FINISHED"
        for run in reversed(self.runs):
            _finish(recorder, run, status, error)
        self.runs.clear()
        self.opened = None
        recorder.close(timeout_seconds)

    def _hook(self) -> None:
        if self._forked:
            from multiprocessing import util

            util.Finalize(None, self.close, exitpriority=10)  # a child of multiprocessing's ends without atexit
        if self._hooked:
            return
        self._hooked = True
        atexit.register(self.close)
        os.register_at_fork(after_in_child=self._after_fork)
        if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, self._terminate)

    def _terminate(self, number: int, _frame: object) -> None:
        self.close("KILLED", SIGTERM_SECONDS)
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    def _after_fork(self) -> None:
        """Let a child, which has no threads of its parent's, log by a recorder of its own; the runs are its parent's to end."""
        self._lock = threading.RLock()
        self.opened = None
        self._forked = True
        for run in self.runs:
            run.kept = True


def journal_folder(settings: Settings) -> Path:
    """Give where calls wait: TOURNANT_JOURNAL, or among this user's own state."""
    given = settings.environ.get("TOURNANT_JOURNAL")
    if given:
        return Path(given).expanduser()
    state = settings.environ.get("XDG_STATE_HOME")
    return (Path(state) if state else Path.home() / ".local" / "state") / "tournant" / "journal"


def _finish(recorder: Recorder, run: Tracked, status: str, error: BaseException | None) -> None:
    """Say how a run ended, if it is ours to end."""
    if run.kept:
        return
    values: dict[str, object] = {"id": run.id, "status": _STATUS[status], "ended_at": time.time()}
    if error:
        values["error"] = f"{type(error).__name__}: {error}"
    recorder.put(Call("runs.finish", values))


def _actor() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "someone"
