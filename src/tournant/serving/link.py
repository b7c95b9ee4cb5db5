"""The link to the control plane: routes come in by long poll, reports and predictions go out; both try for ever."""

import contextlib
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import msgspec
import structlog

from tournant.errors import TournantError, Unavailable
from tournant.messages.routing import RoutingTable
from tournant.serving.reports import Reports
from tournant.serving.uploads import Uploads

__all__ = ["Link", "read_cached_routes"]

WAIT_SECONDS = 10.0
REPORT_SECONDS = 0.5
ROTATE_SECONDS = 5.0
FIRST_BACKOFF_SECONDS = 0.1
LONGEST_BACKOFF_SECONDS = 3.0


def read_cached_routes(path: Path) -> RoutingTable | None:
    """Give the last routing table of an earlier life, or None."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=RoutingTable)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


class Link:
    """Two threads: one waits for routes, one reports. Everything they want of the gateway goes through its event loop."""

    def __init__(
        self,
        client: httpx.Client,
        gateway: str,
        cache: Path,
        *,
        apply: Callable[[RoutingTable], None],
        flush: Callable[[], None],
        uploads: Uploads,
        reports: Reports,
    ) -> None:
        """Hand tables to `apply` and keep them in `cache`; `flush` returns when the spool holds all that was answered."""
        self._client = client
        self._gateway = gateway
        self._cache = cache
        self._apply = apply
        self._flush = flush
        self._uploads = uploads
        self._reports = reports
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._barrier = 0  # the newest heard of
        self._flushed = 0  # the newest registered completely
        self._flushed_at = -ROTATE_SECONDS  # at once: an earlier life may have left something
        self._log = structlog.get_logger("tournant.gateway")
        self._threads = [
            threading.Thread(target=self._follow_routes, name="routes", daemon=True),
            threading.Thread(target=self._report_forever, name="reports", daemon=True),
        ]

    def start(self, cached: RoutingTable | None) -> None:
        """Start both threads; `cached` is what is served by until the control plane answers."""
        if cached:
            self._barrier = cached.barrier
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """Say that there is something to report."""
        self._wake.set()

    def stop(self, timeout_seconds: float = 2.0) -> None:
        """Send what there is once more, if the control plane answers in time."""
        self._stopping.set()
        self._wake.set()
        reporter = self._threads[1]
        reporter.join(timeout_seconds)
        if reporter.is_alive():  # it waits for an answer; to say the same again in the next life is harmless
            self._reports.keep()

    def _follow_routes(self) -> None:
        known, backoff = (-1, -1), FIRST_BACKOFF_SECONDS
        while not self._stopping.is_set():
            try:
                table = self._poll(*known)
                backoff = FIRST_BACKOFF_SECONDS
            except Unavailable as exc:
                if backoff == FIRST_BACKOFF_SECONDS:
                    self._log.warning("routes stay as they are", reason=exc.message)
                self._stopping.wait(backoff)
                backoff = min(2 * backoff, LONGEST_BACKOFF_SECONDS)
                continue
            if table:
                known = (table.version, table.barrier)
                self._take(table)

    def _poll(self, version: int, barrier: int) -> RoutingTable | None:
        asked: dict[str, str | float] = {
            "gateway": self._gateway,
            "version": version,
            "barrier": barrier,
            "wait": WAIT_SECONDS,
        }
        try:
            answer = self._client.get("/api/gateway/routes", params=asked, timeout=WAIT_SECONDS + 5)
        except httpx.HTTPError as exc:
            raise Unavailable(f"the control plane does not answer: {exc}") from exc
        if answer.status_code == 204:
            return None
        if answer.status_code != 200:
            raise Unavailable(f"the control plane gives no routes: {answer.status_code} {answer.text[:200]}")
        try:
            return msgspec.json.decode(answer.content, type=RoutingTable)
        except msgspec.DecodeError as exc:
            raise Unavailable(f"the control plane's routes cannot be read: {exc}") from exc

    def _take(self, table: RoutingTable) -> None:
        part = self._cache.with_suffix(".part")
        part.write_bytes(msgspec.json.encode(table))
        part.replace(self._cache)
        self._apply(table)
        self._barrier = table.barrier
        self._wake.set()

    def _report_forever(self) -> None:
        backoff = FIRST_BACKOFF_SECONDS
        while True:
            self._wake.wait(REPORT_SECONDS)
            self._wake.clear()
            if self._stopping.is_set():
                self._say_goodbye()
                return
            try:
                self._round()
                backoff = FIRST_BACKOFF_SECONDS
            except TournantError as exc:
                if backoff == FIRST_BACKOFF_SECONDS:
                    self._log.warning("reports wait", reason=exc.message)
                self._stopping.wait(backoff)
                backoff = min(2 * backoff, LONGEST_BACKOFF_SECONDS)
            except Exception:
                self._log.exception("reporting failed")
                self._stopping.wait(LONGEST_BACKOFF_SECONDS)

    def _say_goodbye(self) -> None:
        try:
            self._round(last=True)
        except TournantError as exc:
            self._log.warning("reports are kept for the next start", reason=exc.message)
            self._reports.keep()
        except RuntimeError:
            if not self._client.is_closed:  # where it is, `stop` did not wait for this any longer, and has kept them
                raise

    def _round(self, *, last: bool = False) -> None:
        """Flush if it is time, register what is flushed, report."""
        barrier = self._barrier
        if barrier != self._flushed or last or time.monotonic() - self._flushed_at > ROTATE_SECONDS:
            self._flush()
            self._flushed_at = time.monotonic()
            self._uploads.run()
            self._flushed = barrier
        self._reports.send(self._flushed)

    def close(self) -> None:
        """Give back the connections."""
        with contextlib.suppress(RuntimeError):
            self._client.close()
