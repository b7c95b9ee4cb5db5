"""The gateway: everything one process serves by, put together, and what the app and the link ask of it."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from tournant.domain.control import RevisionStatus
from tournant.errors import NotFound, Unavailable
from tournant.messages.gateway import Delta
from tournant.messages.routing import RoutingTable
from tournant.serving.answering import Answerer
from tournant.serving.counters import Counters
from tournant.serving.endpoint import Headers
from tournant.serving.fleet import Fleet
from tournant.serving.loading import Loader
from tournant.serving.shadows import Shadows
from tournant.serving.spool import FLUSH_SECONDS, Spool

__all__ = ["Gateway", "Snapshot"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What a gateway has to report; `deltas` are its only copy."""

    routes_version: int
    statuses: tuple[RevisionStatus, ...]
    dropped: int
    deltas: tuple[Delta, ...]


class Gateway:
    """Belongs to the event loop."""

    def __init__(self, loader: Loader, spool: Spool, changed: Callable[[], None]) -> None:
        """Serve what `loader` loads, record in `spool`, call `changed` when there is something to report."""
        self._counters = Counters()
        self._spool = spool
        self._shadows = Shadows(self._counters, spool)
        self._answerer = Answerer(self._counters, spool, self._shadows, self.now)
        self._flusher: asyncio.Task[None] | None = None
        self._encode = msgspec.json.Encoder().encode
        self.fleet = Fleet(loader, changed)

    def now(self) -> float:
        """Business time: the replay's, if there is one."""
        table = self.fleet.table
        return time.time() if table is None or table.now is None else table.now

    def start(self) -> None:
        """Begin to flush the spool regularly."""
        self._flusher = asyncio.create_task(self._flush_regularly())

    async def predict(self, deployment: str, body: bytes, headers: Headers = ()) -> bytes:
        """Give the encoded answer to a request's body (and headers, which may name its entity); raises a TournantError that says what is wrong."""
        endpoint = self.fleet.endpoints.get(deployment)
        if endpoint is None:
            raise self._absent(deployment)
        return self._encode(await self._answerer.answer(endpoint, endpoint.schema.read(body), headers))

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

    async def close(self) -> None:
        """Write what is in memory and end every worker."""
        if self._flusher:
            self._flusher.cancel()
        self._spool.rotate()
        await self.fleet.close()

    async def _flush_regularly(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            self._spool.flush()

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
