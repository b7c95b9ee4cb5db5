"""A deployment's world for unit tests: real services and controller over SQLite, with gateways that only count.

A counting gateway loads what the routing table names, splits traffic as it says, and reports, as a real one does; how
often a revision fails or is slow is set by the test.
"""

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest

from tournant.adapters.sql.transactions import SqlTransactions, create_engine
from tournant.config import Settings
from tournant.controllers.rollout import RolloutController
from tournant.domain.control import RevisionStatus
from tournant.domain.deployment import Deployment, DeploymentConfig, Revision
from tournant.domain.registry import Column, ColumnType, Conversion, ConversionStatus, ModelVersion, Output, Signature
from tournant.domain.rollout import Rollout, RolloutStrategy
from tournant.messages.gateway import Delta, GatewayReport
from tournant.messages.routing import DeploymentRoute, RoutingTable
from tournant.services.context import Context
from tournant.services.gateways import apply_report, routing_table

START = 1_356_998_400.0  # 2013-01-01T00:00:00Z
QUICK = RolloutStrategy(canary_percents=(20.0, 50.0), minimum_requests=100, limit_seconds=30 * 86_400.0)


class Clock:
    """Business time that a test moves."""

    def __init__(self) -> None:
        self.time = START

    def now(self) -> float:
        """Give the time that was set."""
        return self.time


@dataclass
class Behaviour:
    """How a revision does."""

    error_rate: float = 0.0
    slow_rate: float = 0.0
    load_error: str = ""
    probe_error_rate: float = 0.0
    probe_slow_rate: float = 0.0
    shift: float = 0.0


@dataclass
class CountingGateway:
    """Reports what a gateway would, from seeded dice instead of requests."""

    ctx: Context
    behaviours: dict[str, Behaviour]
    id: str = "g1"
    sequence: int = 0
    started_at: float = field(default_factory=time.time)
    dice: random.Random = field(default_factory=lambda: random.Random(7))
    table: RoutingTable = field(default_factory=lambda: RoutingTable(version=0))
    last: GatewayReport | None = None

    def behaviour(self, revision: str) -> Behaviour:
        """How a revision does; well, unless said otherwise."""
        return self.behaviours.get(revision, Behaviour())

    def sync(self) -> None:
        """Take the newest routes, load what they name, and report."""
        self.table = routing_table(self.ctx)
        self.report(())

    def serve(self, requests: int) -> None:
        """Serve every deployment so many requests, on the routes last synced."""
        deltas: list[Delta] = []
        for route in self.table.deployments:
            if route.stable:
                deltas += self._served(route, requests)
        self.sequence += 1
        self.report(tuple(deltas))

    def report(self, deltas: tuple[Delta, ...]) -> None:
        """Send a report."""
        report = GatewayReport(
            gateway=self.id,
            url="http://127.0.0.1:8080",
            started_at=self.started_at,
            sequence=self.sequence,
            routes_version=self.table.version,
            barrier=self.table.barrier,
            deltas=deltas,
            statuses=tuple(self._status(route, r.id) for route in self.table.deployments for r in route.revisions),
        )
        apply_report(self.ctx, report)
        self.last = report

    def _status(self, route: DeploymentRoute, revision: str) -> RevisionStatus:
        behaviour = self.behaviour(revision)
        if behaviour.load_error:
            return RevisionStatus(revision=revision, state="failed", error=behaviour.load_error)
        probes = route.warmup_requests if revision in route.warming else 0
        return RevisionStatus(
            revision=revision,
            state="ready",
            probes=probes,
            probe_errors=round(probes * behaviour.probe_error_rate),
            probe_over_slo=round(probes * behaviour.probe_slow_rate),
        )

    def _served(self, route: DeploymentRoute, requests: int) -> list[Delta]:
        canary = sum(self.dice.random() * 10_000 < route.canary_weight for _ in range(requests))
        counted = {(route.stable, "stable"): requests - canary, (route.canary, "canary"): canary}
        counted |= {(shadow, "shadow"): requests for shadow in route.shadows}
        return [self._delta(route, revision, role, count) for (revision, role), count in counted.items() if count]

    def _delta(self, route: DeploymentRoute, revision: str, role: str, count: int) -> Delta:
        behaviour = self.behaviour(revision)
        errors = sum(self.dice.random() < behaviour.error_rate for _ in range(count))
        pairs = count - errors if role == "shadow" else 0
        return Delta(
            deployment=route.name,
            revision=revision,
            role=role,
            rollout=route.rollout,
            epoch=route.epoch,
            rows=count - errors,
            requests=count,
            errors=errors,
            fallbacks=errors if role == "canary" else 0,
            over_slo=sum(self.dice.random() < behaviour.slow_rate for _ in range(count)),
            score_sum=0.5 * (count - errors),
            score_squares=0.25 * (count - errors),
            pairs=pairs,
            pair_sum=behaviour.shift * pairs,
            pair_squares=(behaviour.shift**2 + 0.01) * pairs,
        )


class World:
    """One control plane with its controller, and gateways."""

    def __init__(self, ctx: Context, clock: Clock) -> None:
        self.ctx = ctx
        self.clock = clock
        self.behaviours: dict[str, Behaviour] = {}
        self.controller = RolloutController(ctx)
        self.gateways = [CountingGateway(ctx, self.behaviours)]

    def register(self, number: int, **changes: Any) -> str:
        """Register a model version, `m@<number>`."""
        version = ModelVersion(
            id=f"m@{number}",
            model="m",
            number=number,
            digest="d" * 64,
            flavor="sklearn",
            entry="model.pkl",
            predict="predict_proba",
            signature=Signature(
                inputs=(Column(name="x", type=ColumnType.NUMBER),),
                output=Output(kind="probability", classes=("0", "1")),
            ),
            example=({"x": 1.0},),
            environment="e",
            conversion=Conversion(status=ConversionStatus.SUCCESSFUL, digest="c" * 64),
            created_at=self.clock.now(),
        )
        with self.ctx.transactions.begin() as uow:
            uow.save(replace(version, **changes))
        return version.id

    def settle(self) -> None:
        """Tick, and let gateways follow, until nothing changes."""
        for _ in range(50):
            for gateway in self.gateways:
                gateway.sync()
            if not self.controller.tick() and not self.controller.busy():
                return
        raise AssertionError("the controller does not come to rest")

    def serve(self, requests: int) -> None:
        """Let every gateway serve so many requests, then settle."""
        for gateway in self.gateways:
            gateway.serve(requests)
        self.settle()

    def route(self, name: str = "d") -> DeploymentRoute:
        """The deployment's route now."""
        return next(route for route in routing_table(self.ctx).deployments if route.name == name)

    def deployment(self, name: str = "d") -> Deployment:
        """The deployment's record."""
        return self.read(Deployment, name)

    def rollout(self, revision: str) -> Rollout:
        """The newest rollout of a revision."""
        with self.ctx.transactions.begin(write=False) as uow:
            return uow.find(Rollout, revision=revision, order="-started_at,-id", limit=1)[0]

    def revision(self, revision: str) -> Revision:
        """A revision's record."""
        return self.read(Revision, revision)

    def read(self, kind: type[Any], key: str) -> Any:
        """Read a record that is there."""
        with self.ctx.transactions.begin(write=False) as uow:
            found = uow.get(kind, key)
        assert found is not None
        return found

    def events(self) -> Counter[str]:
        """How many events of each kind there are."""
        from tournant.domain.control import Event

        with self.ctx.transactions.begin(write=False) as uow:
            return Counter(event.kind for event in uow.find(Event))


@pytest.fixture
def quick_config() -> DeploymentConfig:
    """Settings under which a rollout needs few requests and no time."""
    return DeploymentConfig(rollout=QUICK)


@pytest.fixture
def worlds(sqlite_template: Path, tmp_path: Path) -> Iterator[Callable[[], World]]:
    """Make worlds, each on a database of its own."""
    with ExitStack() as stack:

        def make() -> World:
            path = tmp_path / f"{time.time_ns()}.db"
            path.write_bytes(sqlite_template.read_bytes())
            engine = create_engine(f"sqlite:///{path}")
            stack.callback(engine.dispose)
            clock = Clock()
            unused = cast("Any", None)  # rollouts without labels touch neither files nor jobs
            ctx = Context(
                settings=Settings(home=tmp_path),
                transactions=SqlTransactions(engine),
                blobs=unused,
                predictions=unused,
                executor=unused,
                environments=unused,
                converter=unused,
                keys=unused,
                notifiers=(),
                metrics=unused,
                clock=clock,
                open_remote=unused,
                actor="tester",
            )
            return World(ctx, clock)

        yield make


@pytest.fixture
def world(worlds: Callable[[], World]) -> World:
    """One world."""
    return worlds()


@pytest.fixture
def world_of() -> type[World]:
    """Make a world of a context and its clock."""
    return World
