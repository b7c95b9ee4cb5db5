"""The gateway: everything one process serves by, put together, and what the app and the link ask of it."""

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import msgspec

from tournant.domain.control import RevisionStatus
from tournant.errors import NotFound, Overloaded, Unavailable
from tournant.messages.gateway import Delta
from tournant.messages.routing import RoutingTable
from tournant.serving.answering import Answered, Answerer
from tournant.serving.counters import Counters
from tournant.serving.endpoint import Arm, Endpoint
from tournant.serving.fleet import Fleet
from tournant.serving.headers import Headers
from tournant.serving.load import LoopLoad
from tournant.serving.loading import Loader
from tournant.serving.metrics import Metrics, Sample
from tournant.serving.revision_metrics import info_samples, revision_samples
from tournant.serving.schema import Request
from tournant.serving.shadows import Shadows
from tournant.serving.spool import FLUSH_SECONDS, Spool

__all__ = ["Gateway", "Snapshot"]


KEEP_SECONDS = 1.0  # between two writings of the metrics
GONE_SECONDS = 180.0  # that the metrics of a revision outlive it: several scrapes


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What a gateway has to report; `deltas` are its only copy."""

    routes_version: int
    statuses: tuple[RevisionStatus, ...]
    dropped: int
    deltas: tuple[Delta, ...]


class Gateway:
    """Belongs to the event loop."""

    def __init__(
        self, loader: Loader, spool: Spool, changed: Callable[[], None], metrics: Metrics | None = None
    ) -> None:
        """Serve what `loader` loads, record in `spool`, call `changed` when there is something to report."""
        self.metrics = metrics or Metrics(None)
        self.load = LoopLoad()
        self._counters = Counters()
        self._spool = spool
        self._shadows = Shadows(self._counters, spool)
        self._answerer = Answerer(self._counters, spool, self._shadows, self.now)
        self._flusher: asyncio.Task[None] | None = None
        self._kept_at = 0.0
        self._gone: dict[str, float] = {}  # revisions that are counted and held no more, since when
        self._encode = msgspec.json.Encoder().encode
        self.fleet = Fleet(loader, changed)

    def now(self) -> float:
        """Business time: the replay's, if there is one."""
        table = self.fleet.table
        return time.time() if table is None or table.now is None else table.now

    def start(self) -> None:
        """Begin to flush the spool regularly."""
        self.load.start()
        self._flusher = asyncio.create_task(self._flush_regularly())

    async def predict(self, deployment: str, body: bytes, headers: Headers = ()) -> bytes:
        """Give the encoded answer to a request's body (and headers, which may name its entity); raises a TournantError that says what is wrong."""
        endpoint = self.fleet.endpoints.get(deployment) or self.endpoint(deployment)
        self.admit(endpoint)
        answered = await self._answerer.answer(endpoint, endpoint.schema.read(body), headers)
        return self._encode(answered.named())

    async def answer(
        self, endpoint: Endpoint, request: Request, headers: Headers = (), only: Arm | None = None
    ) -> Answered:
        """Answer a request that a protocol has read already; see `Answerer.answer`."""
        self.admit(endpoint)
        return await self._answerer.answer(endpoint, request, headers, only)

    def admit(self, endpoint: Endpoint) -> None:
        """Overloaded, at once, for a request whose waiting alone would spend too much of its SLO (see `LoopLoad`)."""
        limit_ms = self.too_long_ms(endpoint)
        if limit_ms:
            raise self.overloaded(limit_ms)

    def too_long_ms(self, endpoint: Endpoint) -> float:
        """Give for how long a request may wait, if it would wait for longer and is refused; else 0."""
        lasting = self.load.lasting(endpoint.name)
        model_ms = endpoint.wait_ms(self.load.each_seconds, lasting=lasting)
        limit_ms = self.load.too_long_ms(endpoint.slo_ms, model_ms, lasting=lasting)
        if limit_ms:
            self.load.refused(endpoint.name)
        return limit_ms

    @staticmethod
    def overloaded(limit_ms: float) -> Overloaded:
        """Say that a request would wait for longer than that."""
        return Overloaded(f"overloaded: requests would wait for more than {limit_ms:.0f} ms; try again later")

    def samples(self) -> list[Sample]:
        """Give the metrics of all gateway processes of this home."""
        return self.metrics.everyone(self.metrics.gather(self._samples()))

    def _samples(self) -> Iterator[Sample]:
        for (deployment, revision, role), cell in self._counters.totals().items():
            yield from revision_samples(cell, deployment=deployment, revision=revision, role=role)
        for revision, (rows, lag) in self._shadows.waiting().items():
            yield Sample.one("tournant_shadow_queue_rows", rows, revision=revision)
            yield Sample.one("tournant_shadow_lag_seconds", lag, revision=revision)
        yield Sample.one("tournant_shadow_dropped_total", self._shadows.dropped)
        yield Sample.one("tournant_log_dropped_total", self._spool.dropped)
        for held in self.fleet.held.values():
            yield from held.predictor.samples(held.id)
        for endpoint in self.fleet.endpoints.values():
            yield from info_samples(endpoint)

    def endpoint(self, deployment: str) -> Endpoint:
        """Give a deployment as it is served now; NotFound or Unavailable says why it is not."""
        found = self.fleet.endpoints.get(deployment)
        if found is None:
            raise self._absent(deployment)
        return found

    def deployments(self) -> list[str]:
        """Name the deployments there are, ready or not."""
        table = self.fleet.table
        return [route.name for route in table.deployments] if table else []

    def apply(self, table: RoutingTable) -> None:
        """Follow a new routing table."""
        self.fleet.apply(table)

    async def flush(self) -> None:
        """Return when everything answered so far is counted, recorded and handed to the uploader, shadows included."""
        await self._shadows.drain()
        self._spool.rotate()

    async def snapshot(self) -> Snapshot:
        """Give what there is to report, and count anew."""
        return Snapshot(
            routes_version=self.fleet.applied,
            statuses=self.fleet.statuses,
            dropped=self._spool.dropped + self._shadows.dropped,
            deltas=self._counters.take(),
        )

    def health(self) -> tuple[int, dict[str, object]]:
        """Give an HTTP status and what stands behind it: 200 once the routes are known and no stable is still loading.

        A stable that cannot be loaded is named, and does not make the others unhealthy.
        """
        table = self.fleet.table
        if table is None:
            return 503, {"status": "waiting for routes from the control plane"}
        loading, failed = [], {}
        for route in table.deployments:
            status = self.fleet.status(route.stable) if route.stable else None
            if status and status.state == "loading":
                loading.append(route.stable)
            elif status and status.state == "failed":
                failed[route.stable] = status.error
        if loading:
            return 503, {"status": "loading", "loading": loading}
        return 200, {
            "status": "degraded" if failed else "ready",
            "routes_version": self.fleet.applied,
            "failed": failed,
        }

    async def wait_ready(self, timeout_seconds: float) -> None:
        """Return once every stable that can be loaded is, or after `timeout_seconds`."""
        deadline = time.monotonic() + timeout_seconds
        while self.health()[0] != 200 and time.monotonic() < deadline:
            await asyncio.sleep(0.02)

    async def close(self) -> None:
        """Write what is in memory and end every worker."""
        self.load.stop()
        if self._flusher:
            self._flusher.cancel()
        self.metrics.keep(self.metrics.gather(self._samples()))
        self._spool.rotate()
        await self.fleet.close()

    async def _flush_regularly(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            self._spool.flush()
            if time.monotonic() - self._kept_at > KEEP_SECONDS:
                self._forget_gone()
                self._kept_at = time.monotonic()
                await asyncio.to_thread(self.metrics.keep, self.metrics.gather(self._samples()))

    def _forget_gone(self) -> None:
        """Let the metrics of revisions that left go after a while: there may be hundreds in a day."""
        now, held = time.monotonic(), self.fleet.held
        counted = self._counters.revisions() | self.metrics.revisions()
        self._gone = {revision: self._gone.get(revision, now) for revision in counted if revision not in held}
        over = {revision for revision, since in self._gone.items() if now - since > GONE_SECONDS}
        if over:
            self._counters.forget(over)
            self.metrics.forget(over)

    def _absent(self, deployment: str) -> NotFound | Unavailable:
        table = self.fleet.table
        if table is None:
            return Unavailable("this gateway has no routes yet: the control plane did not answer; try again")
        known = {route.name: route for route in table.deployments}
        if deployment not in known:
            there = ", ".join(known) or "none"
            message = f"there is no deployment {deployment!r} (there is: {there})"
            return NotFound(message, place=deployment)
        return Unavailable(self._unready(known[deployment].stable, deployment), place=deployment)

    def _unready(self, stable: str, deployment: str) -> str:
        status = self.fleet.status(stable) if stable else None
        if status is None:
            return f"deployment {deployment!r} has no ready revision yet: its first one is being prepared"
        if status.state == "failed":
            return f"deployment {deployment!r} has no ready revision: {stable} does not load: {status.error}"
        return f"deployment {deployment!r} has no ready revision yet: {stable} is loading; try again"
