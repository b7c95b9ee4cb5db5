"""The retraining controller: from an open alert to a promoted challenger, also when it is killed at any boundary."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tournant.controllers.retraining import RetrainingController
from tournant.domain.alerts import Alert, AlertKind, AlertState, Severity
from tournant.domain.control import Event
from tournant.domain.data import Dataset, DatasetVersion
from tournant.domain.deployment import (
    Deployment,
    DeploymentConfig,
    LabelConfig,
    Revision,
    RevisionState,
)
from tournant.domain.predictions import Label, Segment
from tournant.domain.registry import (
    Column,
    ColumnType,
    Conversion,
    ConversionStatus,
    ModelAlias,
    ModelVersion,
    Output,
    RegisteredModel,
    Signature,
)
from tournant.domain.retraining import GateResult, Retraining, RetrainingPolicy, RetrainingState
from tournant.domain.rollout import Phase, Rollout
from tournant.errors import Conflict
from tournant.ports import Job, JobStatus
from tournant.services.context import Context
from tournant.services.deployments import deploy
from tournant.services.retraining import (
    approve_retraining,
    get_retraining,
    list_retrainings,
    reject_retraining,
    start_retraining,
)

DAY = 86_400.0
START = 1_356_998_400.0  # 2013-01-01, where the log begins
NOW = START + 40 * DAY
POLICY = RetrainingPolicy(dataset="flights", gate_units=14, cooldown_seconds=14 * DAY)
S = RetrainingState


class JobBook:
    """An executor whose jobs end when the test says so."""

    def __init__(self) -> None:
        self.jobs: dict[str, Job] = {}
        self.ended: dict[str, int | None] = {}

    def start(self, job: Job) -> None:
        self.jobs.setdefault(job.id, job)

    def status(self, job_id: str) -> JobStatus:
        if job_id in self.ended:
            return JobStatus(state="ended", exit_code=self.ended[job_id])
        return JobStatus(state="running" if job_id in self.jobs else "unknown")

    def wait(self, job_id: str, *, timeout_seconds: float | None = None) -> JobStatus:
        return self.status(job_id)

    def stop(self, job_id: str) -> None:
        self.ended[job_id] = -15


class Killed(BaseException):
    """The process is gone, as by SIGKILL."""


@dataclass
class DyingTransactions:
    """Dies at the end of the n-th unit of work: after it is committed, or before, so that it is lost."""

    real: Any
    left: int
    committed: bool

    @contextmanager
    def begin(self, *, write: bool = True) -> Iterator[Any]:
        self.left -= 1
        with self.real.begin(write=write) as uow:
            yield uow
            if self.left == 0 and not self.committed:
                raise Killed
        if self.left == 0:
            raise Killed


class House:
    """A deployment with a champion, forty days of labelled predictions, and hands to move what is outside the controller."""

    def __init__(self, ctx: Context) -> None:
        self.book = JobBook()
        self.ctx = replace(ctx, executor=self.book)
        ctx.clock.time = NOW  # type: ignore[attr-defined] - the test's own clock
        self._build()

    def _build(self) -> None:
        base = self.parquet(
            "select i * 1.0 as x, (i % 2)::double as late, $start - (60 - i) * 43200.0 as event_time", 60
        )
        tree = self.ctx.blobs.put_tree(base)
        rows = self.parquet(
            """select 'p' || i as prediction_id, '' as key, '' as entity, $start + i * 17280.0 as event_time,
            'flights/1' as revision, 'stable' as role, '' as rollout, 0::bigint as epoch, 0.5 as score,
            null::double[] as scores, null::varchar as error, 1.0 as latency_ms, false as fallback, i * 1.0 as "in.x" """,
            200,
        )
        project = self.ctx.settings.home / "project"
        project.mkdir()
        (project / "tournant.yaml").write_text("project: flights\n")
        segment = Segment(
            digest=self.ctx.blobs.put(rows.read_bytes()),
            deployment="flights",
            gateway="g",
            start=START,
            end=NOW,
            rows=200,
            size_bytes=1,
            registered_at=NOW,
        )
        version = DatasetVersion(
            id="flights@1",
            dataset="flights",
            number=1,
            digest=tree.digest,
            files=1,
            size_bytes=tree.size_bytes,
            created_at=START,
            source="data/flights.parquet",
        )
        deployment = Deployment(
            name="flights",
            config=DeploymentConfig(
                labels=LabelConfig(column="late", delay_seconds=DAY, maturity_seconds=DAY), retraining=POLICY
            ),
            created_at=START,
            stable="flights/1",
            project=self.ctx.blobs.put_tree(project).digest,
        )
        revision = Revision(
            id="flights/1",
            deployment="flights",
            number=1,
            model_version="flights@1",
            state=RevisionState.STABLE,
            created_at=START,
        )
        labels = [
            Label(
                deployment="flights",
                reference=f"p{i}",
                value=float(i % 2),
                event_time=START,
                received_at=START + i * 17280,
            )
            for i in range(200)
        ]
        self.save(
            Dataset(name="flights", created_at=START),
            version,
            RegisteredModel(name="flights", created_at=START),
            model_version(1),
            deployment,
            revision,
            segment,
            *labels,
        )

    def parquet(self, select: str, rows: int) -> Path:
        path = self.ctx.settings.home / "flights.parquet"
        with duckdb.connect() as connection:
            query = select.replace("$start", f"{START}::double")
            connection.execute(f"copy ({query} from range({rows}) r(i)) to '{path}' (format parquet)")
        return path

    def save(self, *records: Any) -> None:
        with self.ctx.transactions.begin() as uow:
            uow.save(*records)

    def configure(self, **changes: Any) -> None:
        with self.ctx.transactions.begin() as uow:
            deployment = uow.get(Deployment, "flights")
            assert deployment
            config = replace(deployment.config, retraining=replace(POLICY, **changes))
            uow.save(replace(deployment, config=config))

    def open_alert(self) -> None:
        self.save(
            Alert(
                id="a1",
                deployment="flights",
                monitor="flights/performance",
                kind=AlertKind.PERFORMANCE,
                severity=Severity.CRITICAL,
                state=AlertState.OPEN,
                opened_at=NOW - DAY,
                summary="loss is up",
            )
        )

    def settle(self, ctx: Context | None = None) -> Retraining:
        """Tick until quiet, as after a restart; give the newest retraining."""
        controller = RetrainingController(ctx or self.ctx)
        for _ in range(50):
            if not controller.tick():
                return list_retrainings(self.ctx)[0]
        raise AssertionError("the controller does not become quiet")

    def finish_job(self, *, passed: bool = True) -> None:
        """Do what the job does: register a challenger, put the gate's result on record, and end."""
        retraining = list_retrainings(self.ctx)[0]
        self.save(model_version(2))
        gate = GateResult(passed=passed, reason="log loss −0.03" if passed else "log loss +0.01")
        self.save(replace(retraining, run="run", challenger="flights@2", gate=gate))
        self.book.ended[retraining.job] = 0

    def end_rollout(self, phase: Phase) -> None:
        with self.ctx.transactions.begin() as uow:
            rollout = uow.find(Rollout, order="-started_at", limit=1)[0]
            uow.save(replace(rollout, phase=phase, ended_at=NOW, reason="as the test says"))

    def play_outside(self) -> Retraining | None:
        """End whatever job or rollout has begun; give the newest retraining."""
        found = list_retrainings(self.ctx)
        if found and found[0].state is S.TRAINING and found[0].job in self.book.jobs and not found[0].gate:
            self.finish_job()
        if found and found[0].rollout:
            self.end_rollout(Phase.PROMOTED)
        return next(iter(list_retrainings(self.ctx)), None)

    def events(self) -> list[str]:
        with self.ctx.transactions.begin(write=False) as uow:
            found = uow.find(Event, order="recorded_at,id")
        return [event.kind for event in found if event.kind.startswith("retraining.")]


def model_version(number: int) -> ModelVersion:
    return ModelVersion(
        id=f"flights@{number}",
        model="flights",
        number=number,
        digest="",
        flavor="sklearn",
        entry="model.pkl",
        predict="predict_proba",
        signature=Signature(
            inputs=(Column(name="x", type=ColumnType.NUMBER),), output=Output(kind="probability", classes=("0", "1"))
        ),
        example=({"x": 1.0},),
        environment="",
        conversion=Conversion(status=ConversionStatus.SKIPPED),
        created_at=START,
        datasets=("flights@1",),
    )


@pytest.fixture
def house(context: Context) -> House:
    return House(context)


WHOLE_STORY = [
    "retraining.started",
    "retraining.began",
    "retraining.froze_dataset",
    "retraining.trained",
    "retraining.passed_gate",
    "retraining.rolling_out",
    "retraining.promoted",
]


def test_an_alert_leads_to_a_promoted_challenger(house: House) -> None:
    """Every state, one event each; the aliases move; the alert knows its retraining."""
    house.open_alert()
    training = house.settle()
    assert training.state is S.TRAINING
    assert (training.trigger, training.alert) == ("performance", "a1")
    house.finish_job()
    assert house.settle().state is S.ROLLING_OUT
    house.end_rollout(Phase.PROMOTED)
    done = house.settle()
    assert done.state is S.PROMOTED
    assert house.events() == WHOLE_STORY
    with house.ctx.transactions.begin(write=False) as uow:
        aliases = {alias.alias: alias.version for alias in uow.find(ModelAlias, model="flights")}
        alert = uow.get(Alert, "a1")
    assert aliases == {"challenger": 2, "champion": 2}
    assert alert and alert.retraining == done.id


def test_rows_to_judge_on_are_later_than_all_rows_to_learn_from(house: House) -> None:
    """The gate's dataset holds the last fourteen mature days, the other all labelled rows before them."""
    house.open_alert()
    training = house.settle()
    with house.ctx.transactions.begin(write=False) as uow:
        learning = uow.get(DatasetVersion, training.dataset_version)
        judging = uow.get(DatasetVersion, training.gate_dataset_version)
    assert learning and judging

    def times(version: DatasetVersion) -> list[float]:
        (file,) = house.ctx.blobs.tree(version.digest).files.values()
        columns = house.ctx.predictions.sample(house.ctx.blobs.path(file.digest), 10_000)
        assert set(columns) >= {"x", "late", "event_time"}
        return [float(time) for time in columns["event_time"]]

    cut, end = NOW - 15 * DAY, NOW - DAY
    assert len(times(learning)) == 60 + 25 * 5
    assert max(times(learning)) < cut <= min(times(judging))
    assert max(times(judging)) < end
    assert len(times(judging)) == 14 * 5
    assert learning.source.startswith("prediction log of flights: flights@1 and 125 labelled rows")


def test_a_frozen_version_is_never_extended(house: House) -> None:
    """Each retraining starts from the project's own data again, so no row of the log comes twice."""
    house.open_alert()
    house.book.ended[house.settle().job] = 1
    house.settle()
    house.ctx.clock.advance(14 * DAY)  # type: ignore[attr-defined] - the test's own clock
    house.configure(gate_units=20)  # the log ends on day 40: the last of these units are empty
    again = house.settle()
    with house.ctx.transactions.begin(write=False) as uow:
        version = uow.get(DatasetVersion, again.dataset_version)
    assert again.state is S.TRAINING and version
    assert version.source.startswith("prediction log of flights: flights@1 and 165 labelled rows")


def test_rows_the_champion_has_learnt_from_judge_nothing(house: House) -> None:
    """A champion trained on rows after the cut would be judged on its own exercises."""
    with house.ctx.transactions.begin() as uow:
        champion, learnt = uow.get(ModelVersion, "flights@1"), uow.get(DatasetVersion, "flights@1")
        assert champion and learnt
        uow.save(replace(learnt, id="flights@0", number=0, source="prediction log", details={"cut": NOW - 2 * DAY}))
        uow.save(replace(champion, datasets=("flights@0",)))
    house.open_alert()
    failed = house.settle()
    assert failed.state is S.FAILED
    assert "flights@1 has learnt from rows up to 2013-02-08" in failed.outcome


@pytest.mark.parametrize("committed", [True, False], ids=["after-commit", "before-commit"])
def test_killed_at_every_boundary_it_ends_in_the_same_place(house: House, committed: bool) -> None:
    """Whichever unit of work is the last before a kill, the next process finishes: one retraining, one rollout."""
    house.open_alert()
    kills, left, seen = 0, 1, None
    while (now := house.play_outside()) is None or now.state is not S.PROMOTED:
        left, seen = (left, seen) if now == seen else (1, now)
        dying = DyingTransactions(house.ctx.transactions, left, committed)
        try:
            RetrainingController(replace(house.ctx, transactions=dying)).tick()
        except Killed:
            kills, left = kills + 1, left + 1
        assert left < 30
    done = list_retrainings(house.ctx)
    assert [retraining.state for retraining in done] == [S.PROMOTED]
    assert kills > 25  # several units of work in each of the seven states
    assert house.events() == WHOLE_STORY
    with house.ctx.transactions.begin(write=False) as uow:
        assert uow.count(Rollout) == 1
        assert uow.count(Revision, model_version="flights@2") == 1
        assert uow.count(DatasetVersion, dataset="flights") == 2
        assert uow.count(DatasetVersion, dataset="flights-gate") == 1


def test_it_is_busy_only_while_a_job_runs(house: House) -> None:
    """A lockstep replay waits for training, not for a rollout or an approval."""
    controller = RetrainingController(house.ctx)
    assert not controller.busy()
    house.open_alert()
    house.settle()
    assert controller.busy()
    assert not controller.tick()
    house.finish_job()
    assert not controller.busy()
    assert house.settle().state is S.ROLLING_OUT
    assert not controller.busy()


def test_the_job_runs_niced_on_one_thread_without_a_password_in_its_command(house: House) -> None:
    """Serving keeps its processor, and `ps` shows no database URL."""
    house.ctx = replace(house.ctx, settings=replace(house.ctx.settings, database="postgresql://u:secret@h/d"))
    start_retraining(house.ctx, "flights")
    job = house.book.jobs[house.settle().job]
    assert (job.threads, job.niceness > 0) == (1, True)
    assert "secret" not in " ".join(job.command)
    assert job.env["TOURNANT_DATABASE"].endswith("secret@h/d")


def test_a_rejected_challenger_is_kept_with_the_reason(house: House) -> None:
    """The gate's reason is the outcome, and no rollout begins."""
    house.open_alert()
    house.settle()
    house.finish_job(passed=False)
    rejected = house.settle()
    assert (rejected.state, rejected.outcome) == (S.REJECTED, "log loss +0.01")
    with house.ctx.transactions.begin(write=False) as uow:
        assert uow.count(Rollout) == 0
        assert uow.get(ModelVersion, "flights@2") is not None


@pytest.mark.parametrize("phase", [Phase.FAILED, Phase.INCONCLUSIVE, Phase.ABORTED])
def test_a_rollout_that_does_not_promote_rejects(house: House, phase: Phase) -> None:
    """The rollout's reason is the outcome, and champion is not moved."""
    house.open_alert()
    house.settle()
    house.finish_job()
    house.settle()
    house.end_rollout(phase)
    rejected = house.settle()
    assert rejected.state is S.REJECTED
    assert rejected.outcome == f"the rollout was {phase.value}: as the test says"
    with house.ctx.transactions.begin(write=False) as uow:
        assert uow.get(ModelAlias, "flights", "champion") is None


def test_a_challenger_waits_for_a_rollout_that_is_not_its_own(house: House) -> None:
    """Somebody's candidate on its way is not superseded; the challenger follows when it is done."""
    house.save(model_version(7))
    deploy(house.ctx, "flights", "flights@7")
    house.open_alert()
    house.settle()
    house.finish_job()
    waiting = house.settle()
    assert (waiting.state, waiting.rollout) == (S.ROLLING_OUT, "")
    house.end_rollout(Phase.FAILED)
    assert house.settle().rollout


def test_manual_approval_waits_then_rolls_out(house: House) -> None:
    """Nothing happens until somebody says so; their name is on record."""
    house.configure(approval="manual")
    house.open_alert()
    house.settle()
    house.finish_job()
    waiting = house.settle()
    assert waiting.state is S.AWAITING_APPROVAL
    approved = approve_retraining(house.ctx.acting_as("ada"), waiting.id, reason="looks right")
    assert (approved.state, approved.approved_by) == (S.ROLLING_OUT, "ada")
    assert house.settle().rollout
    with pytest.raises(Conflict, match="does not wait for approval"):
        approve_retraining(house.ctx, waiting.id)


def test_manual_rejection_ends_it(house: House) -> None:
    """The reason given is the outcome."""
    house.configure(approval="manual")
    house.open_alert()
    house.settle()
    house.finish_job()
    rejected = reject_retraining(house.ctx.acting_as("ada"), house.settle().id, reason="odd slice")
    assert (rejected.state, rejected.outcome) == (S.REJECTED, "not approved by ada: odd slice")
    assert rejected.ended_at == NOW


def test_a_failing_job_fails_with_its_last_lines_and_is_not_repeated(house: House) -> None:
    """The outcome shows why; the next try waits for the cool-down."""
    house.open_alert()
    training = house.settle()
    log = house.book.jobs[training.job].log
    log.write_text("\n".join(f"line {n}" for n in range(40)) + "\nValueError: no rows\n")
    house.book.ended[training.job] = 1
    failed = house.settle()
    assert failed.state is S.FAILED
    assert "ended with 1" in failed.outcome and failed.outcome.endswith("ValueError: no rows")
    assert "line 3\n" not in failed.outcome
    assert len(list_retrainings(house.ctx)) == 1


@pytest.mark.parametrize("exit_code", [None, -9])
def test_a_vanished_job_is_tried_once_more(house: House, exit_code: int | None) -> None:
    """A machine that died is no fault of the project; twice may be."""
    house.open_alert()
    first = house.settle()
    house.book.ended[first.job] = exit_code
    second = house.settle()
    assert (second.state, second.attempts) == (S.TRAINING, 2)
    assert second.job != first.job and second.job in house.book.jobs
    house.book.ended[second.job] = exit_code
    assert house.settle().state is S.FAILED


def test_the_cooldown_and_then_the_same_alert_again(house: House) -> None:
    """While the alert stays open, there is one retraining each cool-down."""
    house.open_alert()
    house.settle()
    house.finish_job(passed=False)
    house.settle()
    house.ctx.clock.advance(13 * DAY)  # type: ignore[attr-defined] - the test's own clock
    house.settle()
    assert len(list_retrainings(house.ctx)) == 1
    house.ctx.clock.advance(DAY)  # type: ignore[attr-defined] - the test's own clock
    house.settle()
    newest, _ = list_retrainings(house.ctx)
    assert "still open" in newest.reason


def test_a_log_too_short_to_judge_on_starts_nothing(house: House) -> None:
    """Fourteen mature days to judge and one to learn from are asked for."""
    house.open_alert()
    house.ctx.clock.time = START + 15 * DAY + DAY - 1  # type: ignore[attr-defined] - the test's own clock
    assert not RetrainingController(house.ctx).tick()
    house.ctx.clock.time = START + 16 * DAY  # type: ignore[attr-defined] - the test's own clock
    assert RetrainingController(house.ctx).tick()


def test_by_hand_and_only_one_at_a_time(house: House) -> None:
    """A second start names the first."""
    first = start_retraining(house.ctx, "flights", reason="new airport")
    assert (first.state, first.trigger, first.reason) == (S.PENDING, "manual", "new airport")
    with pytest.raises(Conflict, match=first.id):
        start_retraining(house.ctx, "flights")
    assert get_retraining(house.ctx, first.id) == first
