"""The revisions a gateway holds: loads what the routing table names, swaps when it is ready, unloads what is left over."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from random import Random

from tournant.domain.control import RevisionStatus
from tournant.errors import TournantError
from tournant.messages.routing import DeploymentRoute, RevisionRoute, RoutingTable
from tournant.serving.artifacts import NotYet
from tournant.serving.endpoint import Endpoint, Recent
from tournant.serving.held import Held
from tournant.serving.loading import Loader
from tournant.serving.predictor import Predictor
from tournant.serving.schema import RowSchema
from tournant.serving.warmup import run_probe

__all__ = ["Fleet"]

RECENT_REQUESTS = 500
FIRST_BACKOFF_SECONDS = 0.2
LONGEST_BACKOFF_SECONDS = 5.0


class Fleet:
    """Follows the routing table. Belongs to the event loop.

    A table takes effect revision by revision as they get ready: until a new stable is ready, the old one answers. Nothing
    is unloaded before it is out of every endpoint and its requests in flight are answered.
    """

    def __init__(self, loader: Loader, changed: Callable[[], None], random: Random | None = None) -> None:
        """Load by `loader`; call `changed` whenever there is something new to report."""
        self._loader = loader
        self._changed = changed
        self._random = random or Random()  # noqa: S311 - splits traffic, keeps no secret
        self._held: dict[str, Held] = {}
        self._statuses: dict[str, RevisionStatus] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._leaving: set[asyncio.Task[None]] = set()
        self._probed: set[str] = set()
        self._recent: dict[str, Recent] = {}
        self.endpoints: dict[str, Endpoint] = {}
        self.table: RoutingTable | None = None
        self.applied = 0

    @property
    def held(self) -> Mapping[str, Held]:
        """The loaded revisions by id."""
        return self._held

    @property
    def statuses(self) -> tuple[RevisionStatus, ...]:
        """What is known of each revision the table names."""
        return tuple(self._statuses.values())

    def status(self, revision: str) -> RevisionStatus | None:
        """Give what is known of one revision."""
        return self._statuses.get(revision)

    def apply(self, table: RoutingTable) -> None:
        """Follow a new table from now on."""
        self.table = table
        named = {revision.id: (route, revision) for route in table.deployments for revision in route.revisions}
        for name in set(self._statuses) - set(named):
            self._forget(name)
        for name, (route, revision) in named.items():
            held = self._held.get(name)
            if held and (held.route.model != revision.model or held.signature != revision.signature):
                self._retire(name)  # another control plane's revision of the same name
                self._forget(name)
            if name not in self._statuses and name in self._held:  # named again while it still served
                self._statuses[name] = RevisionStatus(
                    revision=name, state="ready", mode=self._held[name].predictor.mode
                )
            if name not in self._statuses or self._needs_probe(name, route):
                self._start(name, route, revision)
        self._rewire()

    async def close(self) -> None:
        """Stop loading, and let every model go."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), *self._leaving, return_exceptions=True)
        await asyncio.gather(*(held.predictor.close() for held in self._held.values()))
        self._held.clear()

    def _needs_probe(self, name: str, route: DeploymentRoute) -> bool:
        ready = self._statuses[name].state == "ready"
        return ready and name in route.warming and name not in self._probed and name not in self._tasks

    def _start(self, name: str, route: DeploymentRoute, revision: RevisionRoute) -> None:
        self._statuses[name] = RevisionStatus(revision=name, state="loading")
        self._tasks[name] = asyncio.create_task(self._prepare(name, route, revision))
        self._changed()

    async def _prepare(self, name: str, route: DeploymentRoute, revision: RevisionRoute) -> None:
        """Load a revision, probe it if it is a candidate, and tell how that went."""
        try:
            held = self._held.get(name)
            if held is None:
                held = self._held[name] = Held(revision, await self._load(revision))
                self._rewire()
            status = RevisionStatus(revision=name, state="ready", mode=held.predictor.mode)
            if name in route.warming:
                status = await self._probe(held, route, revision)
        except TournantError as exc:
            status = RevisionStatus(revision=name, state="failed", error=exc.message)
        except Exception as exc:  # whatever a model does, it takes nothing else down
            status = RevisionStatus(revision=name, state="failed", error=f"{type(exc).__name__}: {exc}")
        self._tasks.pop(name, None)
        self._statuses[name] = status
        self._rewire()

    async def _load(self, revision: RevisionRoute) -> Predictor:
        pause = FIRST_BACKOFF_SECONDS
        while True:
            try:
                return await self._loader.load(revision)
            except NotYet as exc:
                self._statuses[revision.id] = replace(self._statuses[revision.id], error=exc.message)
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_BACKOFF_SECONDS)

    async def _probe(self, held: Held, route: DeploymentRoute, revision: RevisionRoute) -> RevisionStatus:
        loading = self._tasks.get(route.stable)
        if loading and loading is not asyncio.current_task():  # both are new: there is nothing to compare with yet
            await asyncio.wait({loading})
        stable = self._held.get(route.stable)
        samples = list(self._recent.get(route.name, ()))
        if not samples:
            schema = RowSchema(revision.signature)
            samples = [(schema, schema.row_of(row)) for row in revision.example]
        probe = await run_probe(
            held, stable if stable is not held else None, samples, route.warmup_requests, route.slo_p99_ms
        )
        self._probed.add(held.id)
        return probe.status(held.id, held.predictor.mode)

    def _rewire(self) -> None:
        """Bring the endpoints up to what is ready now."""
        assert self.table
        wanted = {route.name: route for route in self.table.deployments}
        for name in set(self.endpoints) - set(wanted):
            self.endpoints.pop(name)
            self._recent.pop(name, None)
        for name, route in wanted.items():
            self._rewire_one(name, route)
        for name in set(self._held) - set(self._in_use()):
            self._retire(name)
        if not self._tasks and self.applied != self.table.version:
            self.applied = self.table.version
            # Now, while nothing loads, nobody is about to open what is removed.
            self._loader.keep(held.route.model for held in self._held.values())
        self._changed()

    def _rewire_one(self, name: str, route: DeploymentRoute) -> None:
        old = self.endpoints.get(name)
        stable = self._held.get(route.stable) or (old.stable.held if old and route.stable else None)
        if stable is None:
            self.endpoints.pop(name, None)
            return
        recent = self._recent.setdefault(name, deque(maxlen=RECENT_REQUESTS))
        ready = {key: held for key, held in self._held.items() if key not in route.warming}
        new_parts = {route.canary, *route.shadows} & set(ready) - {stable.id}
        if old and old.route == route and old.stable.held is stable and set(old.parts[1:]) - {""} == new_parts:
            return
        self.endpoints[name] = Endpoint(route, stable, ready, recent, self._random)

    def _in_use(self) -> Iterator[str]:
        yield from self._statuses
        for endpoint in self.endpoints.values():
            yield from endpoint.parts

    def _forget(self, name: str) -> None:
        task = self._tasks.pop(name, None)
        if task:
            task.cancel()
        self._statuses.pop(name, None)
        self._probed.discard(name)

    def _retire(self, name: str) -> None:
        task = asyncio.create_task(self._held.pop(name).drain())
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)
