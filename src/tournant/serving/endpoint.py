"""One deployment as it is served now: who answers, who shadows, and what a request must look like."""

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import NamedTuple

from tournant.domain.clusters import CLUSTERS
from tournant.domain.deployment import WEIGHT_TOTAL
from tournant.messages.routing import DeploymentRoute
from tournant.serving.counters import Stream
from tournant.serving.headers import Headers, header
from tournant.serving.held import Held
from tournant.serving.log_filter import LogFilter
from tournant.serving.schema import Row, RowSchema, Values
from tournant.serving.split import Place, split_place

__all__ = ["Arm", "Endpoint", "Part", "Recent"]

Recent = deque[tuple[RowSchema, Row]]  # real requests, for probing candidates
HEADER = "header:"
SMALLEST_DEADLINE_SHARE = 0.25  # of the SLO: a canary always gets at least that long
MARGIN_SHARE = 0.1  # of the SLO: what a client's request takes beside the models
COMPARED_SECONDS = 0.005  # between two requests whose latencies are compared: the others may share their runs


class Arm:
    """A revision in its role. `told` names the stream of its answers, `aside` that of answers no rollout may judge."""

    __slots__ = ("aside", "held", "role", "told", "values")

    def __init__(self, held: Held, role: str, route: DeploymentRoute, schema: RowSchema) -> None:
        """Let `held` serve `route` as `role`."""
        self.held = held
        self.role = role
        self.told = Stream(route.name, held.id, role, route.rollout, route.epoch)
        self.aside = Stream(route.name, held.id, role, "", 0)
        self.values: Callable[[Row], Values] = schema.values(held.signature)


class Part(NamedTuple):
    """The rows of a request that go to one arm together; `group` is the first one's, where the split is by entity."""

    arm: Arm
    indexes: list[int]
    group: int | None = None


class Endpoint:
    """The live state of one deployment, immutable but for the health its revisions keep."""

    def __init__(
        self, route: DeploymentRoute, stable: Held, held: Mapping[str, Held], recent: Recent, random: Random
    ) -> None:
        """Serve `route` with those of its revisions that are in `held`; `stable` answers."""
        canary = held.get(route.canary)
        shadows = [held[name] for name in route.shadows if name in held]
        others = dict.fromkeys(candidate for candidate in (canary, *shadows) if candidate)
        warming = [revision.signature for revision in route.revisions if revision.id in route.warming]
        self.schema = RowSchema(stable.signature, [*(other.signature for other in others), *warming])
        self.route = route
        self.name = route.name
        self.slo_ms = route.slo_p99_ms
        self.recent = recent
        self.log = LogFilter(route.name, route.log, self.schema, route.entity)
        self.stable = Arm(stable, "stable", route, self.schema)
        self.canary = Arm(canary, "canary", route, self.schema) if canary and canary is not stable else None
        self.shadows = tuple(Arm(shadow, "shadow", route, self.schema) for shadow in shadows)
        arms = (self.stable, *((self.canary,) if self.canary else ()), *self.shadows)
        self._inline = all(arm.held.predictor.inline for arm in arms)  # so that no request waits for anything
        self._weight = route.canary_weight if self.canary else 0
        self._compared_at = 0.0
        self._random = random
        header = route.entity.removeprefix(HEADER) if route.entity.startswith(HEADER) else ""
        self._header = header.strip().lower().encode()
        self._entity = "" if header else self.schema.field(route.entity)

    @property
    def parts(self) -> tuple[str, ...]:
        """The revisions in it: stable, canary (or empty), shadows."""
        canary = self.canary.held.id if self.canary else ""
        return (self.stable.held.id, canary, *(arm.held.id for arm in self.shadows))

    def compares(self, rows: int) -> bool | None:
        """Tell of a request, before it is split, whether its latency is compared with another arm's; None without a canary.

        What is compared is run by itself: stable's requests would share more runs than those of a canary with a tenth of
        the traffic, and look faster than it is. A sample will do where runs can be shared at all.
        """
        if not self.canary:
            return None
        if rows > 1 or not self._inline:
            return True
        now = time.perf_counter()
        if now < self._compared_at:
            return False
        self._compared_at = now + COMPARED_SECONDS
        return True

    def entities(self, rows: Sequence[Row], headers: Headers) -> list[str | None]:
        """Give for each row of a request the value that keeps it to one side of the split, or None."""
        if self._header:
            given = header(headers, self._header)
            return [given.decode("latin-1") if given else None] * len(rows)
        if not self._entity:
            return [None] * len(rows)
        values = (getattr(row, self._entity) for row in rows)
        return [None if value is None else str(value) for value in values]

    def split(self, entities: Sequence[str | None]) -> list[Part]:
        """Divide the rows of a request; rows without an entity go together, at random."""
        if not self.canary or not self._weight:
            return [Part(self.stable, list(range(len(entities))))]
        by_chance = Place(int(self._random.random() * WEIGHT_TOTAL), int(self._random.random() * CLUSTERS))
        places = [by_chance if e is None else split_place(self.canary.held.id, e) for e in entities]
        if len(places) == 1:
            return [self._part(places[0], [0])]
        chosen = [index for index, place in enumerate(places) if place.bucket < self._weight]
        rest = [index for index, place in enumerate(places) if place.bucket >= self._weight]
        return [self._part(places[rows[0]], rows) for rows in (chosen, rest) if rows]

    def _part(self, place: Place, rows: list[int]) -> Part:
        """Give the part of the rows that go where `place` says."""
        arm = self.canary if self.canary and place.bucket < self._weight else self.stable
        return Part(arm, rows, place.group if self._entity or self._header else None)

    def wait_ms(self, each_seconds: float, *, lasting: bool) -> float:
        """Estimate how long a request waits for stable: for its model, and `each_seconds` of the event loop for each that is under way.

        Where a load is `lasting`, it is no less than what those under way take by the clock, unless they are few (see `Pace`).
        """
        held = self.stable.held
        predictor = held.predictor
        under_way = 0 if predictor.inline else held.in_flight - predictor.held_up
        seconds = predictor.wait_seconds() + under_way * each_seconds
        return max(seconds, held.pace.wait_seconds(under_way) if lasting else 0.0) * 1e3

    def canary_deadline_seconds(self, rows: int) -> float:
        """Give how long the canary may take: the SLO less stable's recent p99.9 and a margin, so that stable still keeps it."""
        left = (1 - MARGIN_SHARE) * self.slo_ms - self.stable.held.latency.p999_ms
        return max(left, SMALLEST_DEADLINE_SHARE * self.slo_ms) * rows / 1e3
