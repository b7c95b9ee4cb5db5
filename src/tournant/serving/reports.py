"""Reports to the control plane: each delta is counted exactly once, however often the network loses an answer."""

import time
from collections.abc import Callable
from pathlib import Path

import httpx
import msgspec

from tournant.errors import Unavailable
from tournant.messages.gateway import Delta, GatewayReport, ReportAnswer
from tournant.serving.gateway import Snapshot

__all__ = ["Reports"]

HEARTBEAT_SECONDS = 2.0  # the control plane takes a gateway for gone after ten


class Batch(msgspec.Struct, frozen=True):
    """Deltas under their sequence."""

    sequence: int
    deltas: tuple[Delta, ...]


class Reports:
    """Sends snapshots; used by one thread.

    Deltas go under a sequence and are kept and sent again, unchanged, until the control plane acknowledges it; what
    happens meanwhile is summed in the gateway's counters, so memory does not grow with an outage. A gateway that is
    stopped keeps what is not acknowledged in a file for its next life, which begins with a report without deltas: the
    answer says where the sequence ended. Deltas not acknowledged when a gateway is *killed* are lost; the predictions
    themselves are in the spool.
    """

    def __init__(
        self,
        client: httpx.Client,
        gateway: str,
        url: Callable[[], str],
        snapshot: Callable[[], Snapshot],
        *,
        unsent: Path,
    ) -> None:
        """Report for `gateway`, reached at `url`; `snapshot` takes what there is to say, `unsent` outlives the process."""
        self._client = client
        self._gateway = gateway
        self._url = url
        self._snapshot = snapshot
        self._unsent = unsent
        self._started_at = time.time()
        self._sequence = 0
        self._greeted = False
        self._queue = _read(unsent)
        self._last = self._report(Snapshot(routes_version=0, statuses=(), dropped=0, deltas=()), 0)
        self._sent_at = 0.0

    def send(self, barrier: int) -> None:
        """Report what is new, as flushed up to `barrier`; Unavailable if the control plane does not answer, then call again."""
        if not self._greeted:
            self._greet()
        while self._queue:  # of before the barrier: it may be claimed only once these are counted
            self._post(self._last, self._queue[0])
            self._queue.pop(0)
        snapshot = self._snapshot()
        report = self._report(snapshot, barrier)
        if snapshot.deltas:
            batch = self._enqueue(snapshot.deltas)
            self._post(report, batch)
            self._queue.remove(batch)
        elif report != self._last or time.monotonic() - self._sent_at > HEARTBEAT_SECONDS:
            self._post(report, None)
        self._last = report

    def keep(self) -> None:
        """Write what is not acknowledged for the next life."""
        deltas = self._snapshot().deltas
        if deltas:
            self._enqueue(deltas)
        self._unsent.write_bytes(msgspec.json.encode(self._queue))

    def _greet(self) -> None:
        applied = self._post(self._last, None).sequence
        self._queue = [batch for batch in self._queue if batch.sequence > applied]
        self._sequence = max([applied, *(batch.sequence for batch in self._queue)])
        self._greeted = True
        self._unsent.unlink(missing_ok=True)

    def _enqueue(self, deltas: tuple[Delta, ...]) -> Batch:
        self._sequence += 1
        batch = Batch(self._sequence, deltas)
        self._queue.append(batch)
        return batch

    def _report(self, snapshot: Snapshot, barrier: int) -> GatewayReport:
        return GatewayReport(
            gateway=self._gateway,
            url=self._url(),
            started_at=self._started_at,
            sequence=0,
            routes_version=snapshot.routes_version,
            barrier=barrier,
            dropped=snapshot.dropped,
            statuses=snapshot.statuses,
        )

    def _post(self, report: GatewayReport, batch: Batch | None) -> ReportAnswer:
        sequence, deltas = (batch.sequence, batch.deltas) if batch else (self._sequence, ())
        report = msgspec.structs.replace(report, sequence=sequence, deltas=deltas)
        try:
            answer = self._client.post("/api/gateway/report", content=msgspec.json.encode(report), timeout=10)
        except httpx.HTTPError as exc:
            raise Unavailable(f"the control plane does not take reports: {exc}") from exc
        if not answer.is_success:
            raise Unavailable(f"the control plane does not take reports: {answer.status_code} {answer.text[:200]}")
        self._sent_at = time.monotonic()
        return msgspec.json.decode(answer.content, type=ReportAnswer)


def _read(unsent: Path) -> list[Batch]:
    try:
        return msgspec.json.decode(unsent.read_bytes(), type=list[Batch])
    except (FileNotFoundError, msgspec.DecodeError):
        return []
