"""What every unit of work does, on SQLite and PostgreSQL alike."""

import dataclasses
import threading

import pytest

from tournant.adapters.sql.schema import RECORDS
from tournant.adapters.sql.transactions import SqlTransactions
from tournant.domain.alerts import Alert, AlertKind, AlertState, Severity
from tournant.domain.control import Event, Lease
from tournant.domain.deployment import Deployment, DeploymentConfig
from tournant.domain.retraining import GateResult, Retraining, RetrainingPolicy, RetrainingState
from tournant.domain.tracking import Experiment, RunStatus, StepRun
from tournant.errors import Conflict, Invalid


def step(number: int, **changes: object) -> StepRun:
    made = StepRun(
        run=f"r{number}", step="s", position=0, status=RunStatus.RUNNING, cache_key="n", started_at=float(number)
    )
    return dataclasses.replace(made, **changes)  # type: ignore[arg-type]


def test_a_record_comes_back_as_it_was(transactions: SqlTransactions) -> None:
    """Text, numbers, enums, tuples, maps and nested records all survive."""
    policy = RetrainingPolicy(dataset="d", triggers=("performance", "drift"))
    records: list[object] = [
        step(1, outs={"a": "ü"}, started_at=0.1 + 0.2, ended_at=None, cached=True, log="x\n\t'\"%:;--"),
        Deployment(
            name="d", config=DeploymentConfig(entity="e", retraining=policy), created_at=1e9 / 3, shadows=("d/1",)
        ),
        Alert(
            id="a",
            deployment="d",
            monitor="d/drift",
            kind=AlertKind.DRIFT,
            severity=Severity.INFO,
            state=AlertState.OPEN,
            opened_at=1.0,
            value=None,
            details={"columns": ["b", "a"], "psi": {"a": 0.25}, "n": None},
        ),
        Retraining(
            id="t",
            deployment="d",
            model="m",
            state=RetrainingState.GATING,
            trigger="performance",
            reason="",
            started_at=1.0,
            gate=GateResult(passed=True, reason="", difference=-0.125, tests={"t": True}),
        ),
    ]
    with transactions.begin() as uow:
        for record in records:
            uow.add(record)
    with transactions.begin(write=False) as uow:
        for record in records:
            key = [getattr(record, name) for name in RECORDS[type(record)].key]
            assert uow.get(type(record), *key) == record


def test_what_is_absent_is_none(transactions: SqlTransactions) -> None:
    """Reading a key that nobody wrote gives None."""
    with transactions.begin(write=False) as uow:
        assert uow.get(StepRun, "nobody", "s") is None


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({"run": "r2"}, ["r2"]),
        ({"started_at__lt": 2.0}, ["r1"]),
        ({"started_at__le": 2.0}, ["r1", "r2"]),
        ({"started_at__gt": 2.0}, ["r3"]),
        ({"started_at__ge": 2.0}, ["r2", "r3"]),
        ({"run__ne": "r2"}, ["r1", "r3"]),
        ({"run__in": ["r1", "r3", "r9"]}, ["r1", "r3"]),
        ({"status": RunStatus.FAILED}, ["r3"]),
        ({"status": RunStatus.RUNNING, "started_at__gt": 1.0}, ["r2"]),
        ({"run__in": []}, []),
    ],
)
def test_finds_by_filter(transactions: SqlTransactions, where: dict[str, object], expected: list[str]) -> None:
    """Each operator, alone and together."""
    with transactions.begin() as uow:
        uow.add(step(1), step(2), step(3, status=RunStatus.FAILED))
        assert [found.run for found in uow.find(StepRun, order="started_at", **where)] == expected
        assert uow.count(StepRun, **where) == len(expected)


def test_finds_in_order_up_to_a_limit(transactions: SqlTransactions) -> None:
    """Several fields order, each either way."""
    with transactions.begin() as uow:
        uow.add(step(1, cache_key="b"), step(2, cache_key="a"), step(3, cache_key="b"))
        assert [found.run for found in uow.find(StepRun, order="cache_key,-started_at")] == ["r2", "r3", "r1"]
        assert [found.run for found in uow.find(StepRun, order="-started_at", limit=2)] == ["r3", "r2"]


def test_a_field_may_be_called_kind(transactions: SqlTransactions) -> None:
    """Events and alerts have one."""
    event = Event(id="e", time=1.0, recorded_at=1.0, kind="a.b", subject="a/b", actor="", summary="")
    with transactions.begin() as uow:
        uow.record(event)
        assert uow.find(Event, kind="a.b") == [event]
        assert (uow.count(Event, kind="a.b"), uow.remove(Event, kind="c.d")) == (1, 0)


def test_an_unknown_field_is_named(transactions: SqlTransactions) -> None:
    """A filter on a field that is not there says which are."""
    with pytest.raises(Invalid, match="has no field 'colour'"), transactions.begin(write=False) as uow:
        uow.find(StepRun, colour="red")


def test_adding_twice_is_a_conflict(transactions: SqlTransactions) -> None:
    """The second insert of a key is refused, and its transaction leaves nothing."""
    with transactions.begin() as uow:
        uow.add(step(1))
    with pytest.raises(Conflict, match="step_run r1/s exists"), transactions.begin() as uow:
        uow.add(step(2))
        uow.add(step(1))
    with transactions.begin(write=False) as uow:
        assert uow.count(StepRun) == 1


def test_saving_replaces(transactions: SqlTransactions) -> None:
    """Save inserts what is new and replaces what is there."""
    with transactions.begin() as uow:
        uow.add(step(1))
        uow.save(step(1, cache_key="new"), step(2))
        assert [found.cache_key for found in uow.find(StepRun, order="started_at")] == ["new", "n"]


def test_saves_many_at_once(transactions: SqlTransactions) -> None:
    """A batch larger than a statement's bound on parameters goes in whole."""
    steps = [step(number, position=number) for number in range(5_000)]
    with transactions.begin() as uow:
        uow.save(*steps)
    with transactions.begin(write=False) as uow:
        assert uow.find(StepRun, order="position") == steps


def test_removes_what_matches_and_never_everything(transactions: SqlTransactions) -> None:
    """A removal needs a filter."""
    with transactions.begin() as uow:
        uow.add(step(1), step(2))
        assert uow.remove(StepRun, run="r1") == 1
        with pytest.raises(Invalid, match="every step_run"):
            uow.remove(StepRun)
        assert uow.count(StepRun) == 1


def test_an_exception_rolls_back(transactions: SqlTransactions) -> None:
    """Neither record nor event of a failed transaction stays."""
    event = Event(id="e", time=1.0, recorded_at=1.0, kind="a.b", subject="a/b", actor="", summary="")
    with pytest.raises(RuntimeError), transactions.begin() as uow:
        uow.add(Experiment(number=1, name="x", created_at=1.0, updated_at=1.0))
        uow.record(event)
        raise RuntimeError
    with transactions.begin(write=False) as uow:
        assert (uow.count(Experiment, name="x"), uow.count(Event)) == (0, 0)


def test_writers_of_a_locked_record_take_turns(transactions: SqlTransactions) -> None:
    """Read, add one and write back, from several threads: no addition is lost."""
    with transactions.begin() as uow:
        uow.add(Lease(name="counter", holder="", expires_at=0.0))

    def add_many() -> None:
        for _ in range(20):
            with transactions.begin() as uow:
                lease = uow.get(Lease, "counter", lock=True)
                assert lease
                uow.save(dataclasses.replace(lease, expires_at=lease.expires_at + 1))

    threads = [threading.Thread(target=add_many) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with transactions.begin(write=False) as uow:
        assert uow.get(Lease, "counter") == Lease(name="counter", holder="", expires_at=80.0)
