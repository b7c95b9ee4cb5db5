"""Reports to the control plane: each delta is counted exactly once, however often the network loses an answer."""

import time
from collections.abc import Callable

import httpx
import msgspec

from tournant.errors import Unavailable
from tournant.messages.gateway import Delta, GatewayReport, ReportAnswer
from tournant.serving.gateway import Snapshot

__all__ = ["Reports"]

HEARTBEAT_SECONDS = 2.0  # the control plane takes a gateway for gone after ten


class Reports:
    """Sends snapshots; used by one thread.

    Deltas go under a sequence and are kept and sent again, unchanged, until the control plane acknowledges it; what
    happens meanwhile is summed in the gateway's counters, so memory does not grow with an outage. A new life begins with
    a report without deltas: its answer says where the sequence of earlier lives ended. Deltas that were not acknowledged
    when a gateway is killed are lost; the predictions themselves are in the spool.
    """

    def __init__(
        self, client: httpx.Client, gateway: str, url: Callable[[], str], snapshot: Callable[[], Snapshot]
    ) -> None:
        """Report for `gateway`, reached at `url`; `snapshot` takes what there is to say."""
        self._client = client
        self._gateway = gateway
        self._url = url
        self._snapshot = snapshot
        self._started_at = time.time()
        self._sequence = 0
        self._greeted = False
        self._pending: tuple[Delta, ...] = ()
        self._last: GatewayReport | None = None
        self._sent_at = 0.0

    def send(self, barrier: int) -> None:
        """Report what is new, as flushed up to `barrier`; Unavailable if the control plane does not answer, then call again."""
        if not self._greeted:
            self._greet()
        if self._pending:  # of before the barrier: it may be claimed only once these are counted
            assert self._last
            self._post(msgspec.structs.replace(self._last, sequence=self._sequence, deltas=self._pending))
            self._pending = ()
        snapshot = self._snapshot()
        if snapshot.deltas:
            self._sequence += 1
            self._pending = snapshot.deltas
        report = self._report(snapshot, barrier)
        if not snapshot.deltas and report == self._last and time.monotonic() - self._sent_at < HEARTBEAT_SECONDS:
            return
        self._post(report if not snapshot.deltas else msgspec.structs.replace(report, deltas=snapshot.deltas))
        self._pending = ()
        self._last = report

    def _greet(self) -> None:
        snapshot = Snapshot(routes_version=0, statuses=(), dropped=0, deltas=())
        self._last = self._report(snapshot, 0)
        self._sequence = self._post(self._last).sequence
        self._greeted = True

    def _report(self, snapshot: Snapshot, barrier: int) -> GatewayReport:
        return GatewayReport(
            gateway=self._gateway,
            url=self._url(),
            started_at=self._started_at,
            sequence=self._sequence,
            routes_version=snapshot.routes_version,
            barrier=barrier,
            dropped=snapshot.dropped,
            statuses=snapshot.statuses,
        )

    def _post(self, report: GatewayReport) -> ReportAnswer:
        try:
            answer = self._client.post("/api/gateway/report", content=msgspec.json.encode(report), timeout=10)
        except httpx.HTTPError as exc:
            raise Unavailable(f"the control plane does not take reports: {exc}") from exc
        if not answer.is_success:
            raise Unavailable(f"the control plane does not take reports: {answer.status_code} {answer.text[:200]}")
        self._sent_at = time.monotonic()
        return msgspec.json.decode(answer.content, type=ReportAnswer)
