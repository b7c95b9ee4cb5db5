"""What a script logs, taken off its hands at once: one thread writes it to disk, another sends it from there.

A call costs its caller an append to a queue. Every twentieth of a second the queue is written to the journal, which survives
the process; what the server has answered for is forgotten. Calls may arrive twice, and count once.
"""

import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Union

from tournant.errors import Damaged, TournantError, Unavailable
from tournant.sdk.recording.destination import Destination
from tournant.sdk.recording.journal import Call, Header, Journal

__all__ = ["LOST_SECONDS", "Point", "Recorder", "deliver", "keep_refused", "send_next"]

WRITE_SECONDS = 0.05
RETRY_SECONDS = (0.5, 1.0, 2.0, 5.0)
TOGETHER = 1000  # points in a call
FILE_SECONDS = 10.0  # that a file waits for what was logged before it
LOST_SECONDS = 1.0  # that the end waits for what does not answer
Item = Union["Point", Call]


class Point(NamedTuple):
    """One value of a metric of a run."""

    run: str
    key: str
    value: float
    step: int
    time: float


class Recorder:
    """Sends calls to one destination, in order, from now until it is closed."""

    def __init__(self, destination: Destination, folder: Path, *, actor: str = "") -> None:
        """Keep what waits in `folder`; what processes that are gone have left there for the same destination is sent, too."""
        self._destination = destination
        self._folder = folder
        self._header = Header(destination.address, actor)
        self._journal: Journal | None = None
        self._queue: deque[Item] = deque()
        self.put = self._queue.append
        self._changed = threading.Condition()
        self._closing = False
        self._writing = False
        self._reachable = True
        self.refused: list[TournantError] = []  # calls that can never succeed: they are in the file `refused`
        self._threads = [
            threading.Thread(target=target, name=f"tournant-{target.__name__.strip('_')}", daemon=True)
            for target in (self._write_forever, self._send_forever)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def waiting(self) -> bool:
        """Whether something was not answered for."""
        journal = self._journal
        return bool(self._queue) or self._writing or (journal is not None and journal.waiting_bytes > 0)

    def call(self, name: str, values: dict[str, object]) -> dict[str, Any] | None:
        """Call at once if nothing waits before it and the destination answers; else put it behind what waits, and give None."""
        if not self.waiting:
            try:
                return self._destination.call(name, values)
            except Unavailable as exc:
                self._lost(exc)
        self.put(Call(name, values))
        return None

    def put_file(self, run: str, path: str, file: Path) -> None:
        """Store a file as an artifact of a run: at once if that is possible, else from a copy that waits on disk."""
        if self.flush(FILE_SECONDS, lost_seconds=0):
            try:
                _store(self._destination, run, path, file)
            except Unavailable as exc:
                self._lost(exc)
            else:
                return
        import shutil

        kept = self._folder / "files" / f"{time.time_ns():x}-{threading.get_ident():x}"
        kept.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        shutil.copyfile(file, kept)
        self.put(Call("artifact", {"run": run, "path": path}, str(kept)))

    def flush(self, timeout_seconds: float, *, lost_seconds: float = float("inf")) -> bool:
        """Wait until all that was put so far is answered for; False if it is not in time (it waits on disk).

        A destination that is known not to answer is waited for at most `lost_seconds`.
        """
        began = time.monotonic()
        with self._changed:
            self._changed.notify_all()
            while self.waiting:
                patience = timeout_seconds if self._reachable else min(timeout_seconds, lost_seconds)
                left = began + patience - time.monotonic()
                if left <= 0:
                    return False
                self._changed.wait(min(left, WRITE_SECONDS))
        return True

    def close(self, timeout_seconds: float) -> bool:
        """Send what there is, and end; False if something still waits on disk, which the next script or `tournant runs send` sends."""
        sent = self.flush(timeout_seconds, lost_seconds=LOST_SECONDS)
        self._closing = True
        with self._changed:
            self._changed.notify_all()
        self._threads[0].join(timeout_seconds + 1)
        if sent:
            self._threads[1].join(1)
        self._drain()
        journal, self._journal = self._journal, None
        if journal and journal.close():
            _say(
                f"{self._header.address} does not answer: what was logged waits in {journal.path}. Send it: tournant runs send"
            )
            return False
        return True

    def _write_forever(self) -> None:
        while not self._closing:
            time.sleep(WRITE_SECONDS)
            if self._queue:
                self._drain()

    def _drain(self) -> None:
        """Write the queue to disk."""
        self._writing = True
        try:
            items: list[Item] = []
            while self._queue:
                items.append(self._queue.popleft())
            if not items:
                return
            if self._journal is None:
                self._journal = Journal.make(self._folder, self._header)
            self._journal.append(list(_calls(items)))
        except OSError as exc:
            self._queue.extendleft(reversed(items))
            _say(f"{self._folder} cannot be written ({exc.strerror}): what is logged waits in memory")
            time.sleep(1)
        finally:
            self._writing = False
        with self._changed:
            self._changed.notify_all()

    def _send_forever(self) -> None:
        tries = 0
        self._send_left()
        while not self._closing:
            with self._changed:
                if self._journal is None or not self._journal.waiting_bytes:
                    self._changed.wait(1.0)
                    continue
            try:
                self._send(self._journal)
            except Damaged as exc:  # the disk's doing: what is behind it stays on disk
                self.refused.append(exc)
                _say(exc.message)
                return
            except Unavailable as exc:
                self._lost(exc)
                with self._changed:
                    self._changed.wait_for(lambda: self._closing, RETRY_SECONDS[min(tries, len(RETRY_SECONDS) - 1)])
                tries += 1
            else:
                tries = 0
                self._found()

    def _send(self, journal: Journal) -> None:
        send_next(journal, self._destination, self._refuse)
        with self._changed:
            self._changed.notify_all()

    def _send_left(self) -> None:
        """Send what processes that are gone have left for the same destination."""
        for journal in Journal.left(self._folder):
            try:
                while journal.header.address == self._header.address and journal.waiting_bytes:
                    send_next(journal, self._destination, self._refuse)
            except Unavailable:
                return  # the next script will
            except TournantError as exc:
                _say(exc.message)
            finally:
                journal.close()

    def _refuse(self, call: Call, error: TournantError) -> None:
        """Keep what can never succeed, and say so."""
        self.refused.append(error)
        keep_refused(self._folder, self._header, call, error)

    def _lost(self, error: Unavailable) -> None:
        if self._reachable:
            self._reachable = False
            _say(f"{error.message.rstrip('.')}. Until then, what is logged waits in {self._folder}")

    def _found(self) -> None:
        if not self._reachable:
            self._reachable = True
            _say(f"tournant answers again at {self._header.address}")


def deliver(destination: Destination, calls: Sequence[Call], refuse: Callable[[Call, TournantError], None]) -> None:
    """Make calls in order; what is refused is told, and does not hold up the rest. Unavailable when the destination is."""
    for call in _merged(calls):
        try:
            _make(destination, call)
        except Unavailable:
            raise
        except TournantError as exc:
            for part in _parts(call):
                if part is call:
                    refuse(call, exc)
                    continue
                try:
                    _make(destination, part)
                except Unavailable:
                    raise
                except TournantError as own:
                    refuse(part, own)


def send_next(journal: Journal, destination: Destination, refuse: Callable[[Call, TournantError], None]) -> int:
    """Send the next calls that wait in a journal; give how many."""
    calls, size = journal.take()
    deliver(destination, calls, refuse)
    journal.answered(size)
    return len(calls)


def keep_refused(folder: Path, header: Header, call: Call, error: TournantError) -> None:
    """Write a call that was refused beside the journals."""
    import msgspec

    line = msgspec.json.encode({"address": header.address, "error": error.message, "call": call})
    with (folder / "refused.ndjson").open("ab") as file:
        file.write(line + b"\n")
    _say(f"refused, and kept in {folder / 'refused.ndjson'}: {error.message}")


def _make(destination: Destination, call: Call) -> None:
    if not call.file:
        destination.call(call.name, call.values)
        return
    file = Path(call.file)
    if file.exists():  # else it was stored before, and its answer was lost
        _store(destination, str(call.values["run"]), str(call.values["path"]), file)
        file.unlink(missing_ok=True)


def _store(destination: Destination, run: str, path: str, file: Path) -> None:
    location = str(destination.call("runs.get", {"id": run})["run"]["artifact_location"])
    base = location.partition(":")[2].strip("/")
    with file.open("rb") as content:
        destination.put_artifact(f"{base}/{path}", content, file.stat().st_size)


def _calls(items: Sequence[Item]) -> Iterator[Call]:
    """Put points that follow each other and are of one run into one call."""
    points: list[Point] = []
    for item in items:
        if points and (isinstance(item, Call) or item.run != points[0].run or len(points) >= TOGETHER):
            yield _log(points)
            points = []
        if isinstance(item, Call):
            yield item
        else:
            points.append(item)
    if points:
        yield _log(points)


def _log(points: Sequence[Point]) -> Call:
    metrics = [{"key": p.key, "value": _plain(p.value), "step": p.step, "time": p.time} for p in points]
    return Call("runs.log", {"id": points[0].run, "metrics": metrics})


def _plain(value: float) -> float | str:
    """Give a value as JSON can say it."""
    if value - value == 0:
        return value
    return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"


def _merged(calls: Sequence[Call]) -> Iterator[Call]:
    """Put what was written apart together again: after a while without an answer there are many small calls."""
    waiting: Call | None = None
    for call in calls:
        if waiting and _alike(waiting, call):
            metrics = [*waiting.values["metrics"], *call.values["metrics"]]  # type: ignore[misc]
            waiting = Call("runs.log", {"id": call.values["id"], "metrics": metrics})
            continue
        if waiting:
            yield waiting
        waiting = call
    if waiting:
        yield waiting


def _alike(one: Call, other: Call) -> bool:
    only = {"id", "metrics"}
    if set(one.values) != only or set(other.values) != only or one.values["id"] != other.values["id"]:
        return False
    return len(one.values["metrics"]) + len(other.values["metrics"]) <= TOGETHER  # type: ignore[arg-type]


def _parts(call: Call) -> list[Call]:
    """Give the smallest calls that say the same, so that only what is wrong of it is refused."""
    if call.name != "runs.log" or call.file:
        return [call]
    run = call.values["id"]
    single: list[dict[str, object]] = [{"metrics": [metric]} for metric in call.values.get("metrics") or ()]  # type: ignore[attr-defined]
    for kind in ("params", "tags"):
        single += [{kind: {key: value}} for key, value in (call.values.get(kind) or {}).items()]  # type: ignore[attr-defined]
    return [Call("runs.log", {"id": run, **part}) for part in single] if len(single) > 1 else [call]


def _say(text: str) -> None:
    print(f"tournant: {text}", file=sys.stderr, flush=True)  # noqa: T201 - to whoever watches the script
