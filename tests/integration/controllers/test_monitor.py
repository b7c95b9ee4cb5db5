"""The monitor controller on a real database, content store and prediction log: profiles, alerts, restarts."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

from tournant.controllers.monitor import MonitorController
from tournant.domain.alerts import Alert, AlertKind, AlertState, Monitor
from tournant.domain.control import Event
from tournant.domain.deployment import (
    Deployment,
    DeploymentConfig,
    LabelConfig,
    MonitorConfig,
    Revision,
    RevisionState,
)
from tournant.domain.predictions import Label, LabelState, Segment
from tournant.domain.profile import ReferenceProfile, WindowProfile
from tournant.domain.registry import Column, ColumnType, Conversion, ConversionStatus, ModelVersion, Output, Signature
from tournant.domain.rollout import Phase, Rollout, RolloutStrategy
from tournant.services import evidence
from tournant.services.context import Context

DAY = 86_400.0
ROWS = 60
SIGNATURE = Signature(
    inputs=(Column(name="x", type=ColumnType.NUMBER), Column(name="c", type=ColumnType.STRING)),
    output=Output(kind="probability", classes=("0", "1")),
)
CONFIG = DeploymentConfig(
    labels=LabelConfig(column="y", delay_seconds=DAY, maturity_seconds=DAY),
    monitors=MonitorConfig(window=3, average_run_length=60.0),
)


class World:
    """A deployment `d` that gets days of traffic and labels."""

    def __init__(self, ctx: Context, clock: Any, folder: Path) -> None:
        self.ctx, self.clock, self.folder = ctx, clock, folder
        self.rng = np.random.default_rng(1)
        self.controller = MonitorController(ctx)
        self.start = clock.now()

    def at(self, day: float) -> float:
        return self.start + day * DAY

    def parquet(self, day: int, days: int, *, shift: float, wrong: float) -> bytes:
        """Write rows of calibrated predictions; `wrong` mixes labels that have nothing to do with them in."""
        n = ROWS * days
        x = self.rng.normal(shift, 1.0, n)
        score = 1 / (1 + np.exp(-(x - shift)))
        label = np.where(self.rng.random(n) < wrong, 1 - (score > 0.5), self.rng.random(n) < score).astype(float)
        time = np.sort(self.at(day) + self.rng.random(n) * DAY * days)
        c = self.rng.choice(["a", "b"], n).astype(object)
        with duckdb.connect() as connection:
            connection.register("t", {"x": x, "c": c, "y": label, "score": score, "event_time": time})
            connection.execute(f"copy t to '{self.folder / 'rows.parquet'}' (format parquet)")
        return (self.folder / "rows.parquet").read_bytes()

    def setup(self, *, reference_days: int = 20) -> None:
        digest = self.ctx.blobs.put(self.parquet(-30, reference_days, shift=0, wrong=0)) if reference_days else ""
        version = ModelVersion(
            id="m@1",
            model="m",
            number=1,
            digest="",
            flavor="sklearn",
            entry="model.pkl",
            predict="predict_proba",
            signature=SIGNATURE,
            example=(),
            environment="",
            conversion=Conversion(status=ConversionStatus.SKIPPED),
            created_at=self.start,
            reference=digest,
            tags={"label_column": "y", "time_column": "event_time"},
        )
        with self.ctx.transactions.begin() as uow:
            uow.add(version)
            uow.add(replace(version, id="m@2", number=2))
            uow.add(Deployment(name="d", config=CONFIG, created_at=self.start, stable="d/1"))
            for number in (1, 2):
                uow.add(
                    Revision(
                        id=f"d/{number}",
                        deployment="d",
                        number=number,
                        model_version=f"m@{number}",
                        state=RevisionState.STABLE,
                        created_at=self.start,
                    )
                )

    def traffic(
        self, day: int, *, shift: float = 0.0, wrong: float = 0.0, labelled: bool = True, segments: int = 1
    ) -> None:
        """Record a day's predictions by d/1 (answered) and d/2 (shadow) in so many segments, and its labels a day later."""
        self.parquet(day, 1, shift=shift, wrong=wrong)
        with duckdb.connect() as connection:
            labels = connection.execute(f"select y from '{self.folder / 'rows.parquet'}'").fetchall()
        recorded = [self.segment(day, number, segments) for number in range(segments)]
        known = self.at(day + 1.5)
        with self.ctx.transactions.begin() as uow:
            uow.save(*recorded)
            if labelled:
                uow.save(
                    *(
                        Label(
                            deployment="d",
                            reference=f"key:k{day}-{number}",
                            value=value,
                            event_time=known,
                            received_at=known,
                        )
                        for number, (value,) in enumerate(labels, start=1)
                    )
                )

    def segment(self, day: int, number: int, count: int) -> Segment:
        """Write one of a day's segments, in order of time."""
        target = self.folder / "segment.parquet"
        first, last = number * ROWS // count, (number + 1) * ROWS // count
        with duckdb.connect() as connection:
            connection.execute(
                f"""copy (
                  select 'p{day}-' || i as prediction_id, 'k{day}-' || i as key, '' as entity, event_time, r.revision,
                    r.role, '' as rollout, 0::bigint as epoch, score, null::double[] as scores, null::varchar as error,
                    1.0::double as latency_ms, false as fallback,
                    case when role = 'stable' then x end as "in.x", case when role = 'stable' then c end as "in.c"
                  from (select *, row_number() over () as i from '{self.folder / "rows.parquet"}'),
                    (values ('d/1', 'stable'), ('d/2', 'shadow')) r(revision, role)
                  where i > {first} and i <= {last}
                ) to '{target}' (format parquet)"""
            )
            start, end = connection.execute(f"select min(event_time), max(event_time) from '{target}'").fetchall()[0]
        return Segment(
            digest=self.ctx.blobs.put(target.read_bytes()),
            deployment="d",
            gateway="g",
            start=start,
            end=end,
            rows=2 * (last - first),
            size_bytes=target.stat().st_size,
            registered_at=self.at(day + 1),
        )

    def tick(self, day: float) -> bool:
        self.clock.time = self.at(day)
        return self.controller.tick()

    def live(self, first: int, last: int, **how: Any) -> None:
        """Let days pass, each with traffic, and tick once each is mature."""
        for day in range(first, last):
            self.traffic(day, **how)
            self.tick(day + 2)

    def find(self, kind: type, **where: object) -> list[Any]:
        with self.ctx.transactions.begin(write=False) as uow:
            return uow.find(kind, **where)

    def alerts(self, kind: AlertKind) -> list[Alert]:
        return [alert for alert in self.find(Alert, order="opened_at") if alert.kind is kind]


@pytest.fixture
def world(context: Context, clock: Any, tmp_path: Path) -> World:
    return World(context, clock, tmp_path)


def test_each_revision_of_a_mature_unit_is_profiled_once(world: World) -> None:
    """Not before the labels' maturity; then stable and shadow alike; a second tick changes nothing."""
    world.setup()
    world.traffic(0)
    assert not world.tick(1.9)
    assert world.tick(2)
    assert not world.tick(2)
    profiles = world.find(WindowProfile, order="revision")
    assert [profile.revision for profile in profiles] == ["d/1", "d/2"]
    assert [(profile.rows, profile.labelled) for profile in profiles] == [(ROWS, ROWS)] * 2
    assert profiles[1].columns["x"].rows == ROWS
    assert profiles[0].id == f"d/1/{world.start:.0f}"
    assert {label.state for label in world.find(Label)} == {LabelState.MATCHED}


def test_a_quiet_fortnight_opens_no_alert(world: World) -> None:
    """Unchanged traffic: all monitors are fine, and the reference was built once."""
    world.setup()
    world.live(0, 14)
    assert world.find(Alert) == []
    assert {monitor.status for monitor in world.find(Monitor)} == {"ok"}


def test_worse_losses_page_once(world: World) -> None:
    """Performance opens within days of labels going wrong, closes when they are right again; both are recorded."""
    world.setup()
    world.live(0, 4)
    world.live(4, 16, wrong=0.8)
    (alert,) = world.alerts(AlertKind.PERFORMANCE)
    assert (alert.state, alert.severity.value) == (AlertState.OPEN, "critical")
    world.live(16, 22)
    (alert,) = world.alerts(AlertKind.PERFORMANCE)
    assert alert.state is AlertState.CLOSED
    kinds = [event.kind for event in world.find(Event, order="time") if event.kind.startswith("alert.")]
    assert kinds == ["alert.opened", "alert.closed"]


def test_a_shifted_column_is_drift(world: World) -> None:
    """The column that moved is named in the alert's details."""
    world.setup()
    world.live(0, 4)
    world.live(4, 8, shift=3.0)
    (alert,) = world.alerts(AlertKind.DRIFT)
    assert alert.details["columns"][0]["column"] == "x"  # type: ignore[index]
    assert "x (PSI" in alert.summary


def test_a_new_stable_revision_closes_performance_and_drift(world: World) -> None:
    """What was wrong with the old model is not held against the new one."""
    world.setup()
    world.live(0, 3)
    world.live(3, 16, wrong=0.8, shift=3.0)
    assert [a.state for a in world.find(Alert)] == [AlertState.OPEN] * 2
    with world.ctx.transactions.begin() as uow:
        deployment = uow.get(Deployment, "d")
        assert deployment
        uow.save(replace(deployment, stable="d/2"))
        uow.add(
            Rollout(
                id="r",
                deployment="d",
                revision="d/2",
                stable="d/1",
                strategy=RolloutStrategy(),
                phase=Phase.PROMOTED,
                started_at=world.at(10),
                step_started_at=world.at(10),
                ended_at=world.at(17.5),
            )
        )
    world.live(16, 18, wrong=0.8, shift=3.0)
    assert {a.state for a in world.find(Alert)} == {AlertState.CLOSED}
    assert {m.status for m in world.find(Monitor) if m.kind is not AlertKind.LIVENESS} == {"waiting"}


def test_silence_and_missing_labels_are_noticed(world: World) -> None:
    """Liveness: no traffic for two days, then traffic without labels for two days; each closes when it is over."""
    world.setup()
    world.live(0, 2)
    world.tick(6)
    (alert,) = world.alerts(AlertKind.LIVENESS)
    assert "no predictions for 3 days" in alert.summary
    world.live(5, 6)
    assert world.alerts(AlertKind.LIVENESS)[0].state is AlertState.CLOSED
    world.live(6, 8, labelled=False)
    assert "no labels" in world.alerts(AlertKind.LIVENESS)[1].summary


def test_a_long_silence_is_one_step(world: World) -> None:
    """A year without traffic neither takes a year of ticks nor a year of alerts."""
    world.setup()
    world.live(0, 1)
    assert world.tick(400)
    assert not world.tick(400)
    assert len(world.find(Alert)) == 1
    assert len(world.find(WindowProfile)) == 2


def test_catching_up_gives_the_same_as_keeping_up(world: World) -> None:
    """A control plane that was down for two weeks ends where one that was not would be."""
    world.setup()
    for day in range(12):
        world.traffic(day, wrong=0.8 if day > 3 else 0.0)
    assert world.tick(13)
    caught_up = world.find(Monitor, order="id")
    with world.ctx.transactions.begin() as uow:
        for kind, key in ((Monitor, "deployment"), (WindowProfile, "deployment"), (Alert, "deployment")):
            uow.remove(kind, **{key: "d"})
        uow.save(*(replace(label, state=LabelState.PENDING) for label in uow.find(Label)))
    for day in range(12):
        world.tick(day + 2)
    for one, two in zip(caught_up, world.find(Monitor, order="id"), strict=True):
        assert (one.status, one.value, one.evaluated_to) == (two.status, two.value, two.evaluated_to)


@pytest.mark.parametrize("reference_days", [20, 0])
def test_a_unit_that_is_read_in_slices_says_the_same(
    world: World, reference_days: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More predictions than memory holds: slice by slice, a tick each, and nothing is counted twice or left out."""
    world.setup(reference_days=reference_days)
    world.traffic(0, segments=6)
    world.tick(2)
    whole = world.find(WindowProfile, order="revision")
    with world.ctx.transactions.begin() as uow:
        for kind in (Monitor, WindowProfile):
            uow.remove(kind, deployment="d")
        if not reference_days:
            uow.remove(ReferenceProfile, model_version="m@1")
            uow.remove(ReferenceProfile, model_version="m@2")
    monkeypatch.setattr(evidence, "SLICE_ROWS", 2 * 2 * ROWS // 6)
    for _ in range(2):
        assert world.tick(2)
        assert not world.find(WindowProfile)
    assert world.tick(2)
    assert not world.tick(2)
    for one, two in zip(whole, world.find(WindowProfile, order="revision"), strict=True):
        sums = [pytest.approx(getattr(one, name)) for name in ("score_sum", "loss_sum", "brier_sum")]
        assert [two.score_sum, two.loss_sum, two.brier_sum] == sums
        assert (two.rows, two.labelled, two.score_bins, two.positive_bins) == (
            one.rows,
            one.labelled,
            one.score_bins,
            one.positive_bins,
        )
        assert two.columns["c"] == one.columns["c"]
        assert sum(two.columns["x"].counts) == sum(one.columns["x"].counts) == ROWS
    references = world.find(ReferenceProfile)
    assert {len(reference.units) for reference in references} == {reference_days or 1}
    if not reference_days:
        assert {reference.rows for reference in references} == {ROWS}


def test_a_unit_is_read_again_when_the_settings_change_meanwhile(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of a unit is not judged by one metric and half by another."""
    world.setup()
    world.traffic(0, segments=6)
    monkeypatch.setattr(evidence, "SLICE_ROWS", 2 * 2 * ROWS // 6)
    assert world.tick(2)
    monitors = replace(CONFIG.monitors, metric="brier")
    with world.ctx.transactions.begin() as uow:
        deployment = uow.get(Deployment, "d")
        assert deployment
        uow.save(replace(deployment, config=replace(CONFIG, monitors=monitors)))
    for _ in range(3):
        assert world.tick(2)
    for profile in world.find(WindowProfile):
        assert profile.rows == ROWS
        assert profile.loss_sum == pytest.approx(profile.brier_sum)


def test_without_reference_rows_the_first_live_units_are_the_reference(world: World) -> None:
    """A model deployed from a bare file is still watched, for drift and for loss."""
    world.setup(reference_days=0)
    world.live(0, 10)
    reference = next(r for r in world.find(ReferenceProfile) if r.model_version == "m@1")
    assert len(reference.units) == 6
    assert {monitor.status for monitor in world.find(Monitor)} == {"ok"}
    world.live(10, 14, shift=4.0)
    assert world.alerts(AlertKind.DRIFT)


def test_labels_nobody_predicted_end_unmatched(world: World) -> None:
    """After the deadline a stray label is counted and recorded, not kept pending for ever."""
    world.setup()
    stray = Label(deployment="d", reference="key:nobody", value=1.0, event_time=world.start, received_at=world.start)
    with world.ctx.transactions.begin() as uow:
        uow.save(stray)
    world.live(0, 3)
    assert world.find(Label, reference="key:nobody")[0].state is LabelState.PENDING
    world.live(3, 7)
    assert world.find(Label, reference="key:nobody")[0].state is LabelState.UNMATCHED
    (event,) = [event for event in world.find(Event) if event.kind == "labels.unmatched"]
    assert event.data["count"] == 1
