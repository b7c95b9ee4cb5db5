"""What the store of runs does, on SQLite and PostgreSQL alike; searches are checked against the filters' own meaning."""

import dataclasses
import itertools
import math
import random
from dataclasses import replace

import pytest

from tournant.adapters.sql import run_search
from tournant.adapters.sql.transactions import SqlTransactions
from tournant.domain.filters import holds, parse_filter, parse_order
from tournant.domain.run_query import Entity, HistoryQuery, RunQuery, View, place_of
from tournant.domain.tracking import Experiment, Metric, Run, RunStatus
from tournant.errors import Conflict, Invalid, NotFound

STATUS = {RunStatus.SUCCESSFUL: "FINISHED", RunStatus.FAILED: "FAILED", RunStatus.RUNNING: "RUNNING"}


def run(number: int, **changes: object) -> Run:
    values = {
        "id": f"r{number:03}",
        "experiment": "Default",
        "name": f"run {number % 7}",
        "status": RunStatus.RUNNING,
        "started_at": float(number // 2),
    }
    return Run(**values | changes)  # type: ignore[arg-type]


def metric(key: str, value: float, step: int = 0, time: float = 0.0) -> Metric:
    return Metric(run="", key=key, step=step, time=time, value=value)


def read_of(found: Run, entity: Entity, key: str) -> str | float | None:
    if entity is Entity.METRIC:
        return found.metrics.get(key)
    if entity is Entity.PARAM:
        return found.params.get(key)
    if entity is Entity.TAG:
        return found.tags.get(key)
    attributes = {"run_name": found.name, "status": STATUS[found.status], "run_id": found.id}
    return attributes.get(key, 1000 * found.started_at)


@pytest.fixture
def runs(transactions: SqlTransactions) -> list[Run]:
    """Write 120 runs in two experiments; some lack things, some are NaN, many tie."""
    chance = random.Random(3)
    with transactions.begin() as uow:
        uow.add(Experiment(number=1, name="other", created_at=0.0, updated_at=0.0))
        for number in range(120):
            params = {"model": chance.choice(["tree", "Tree", "linear", "a*b", "50%"])} if number % 5 else {}
            made = run(
                number,
                experiment_number=int(number % 3 == 0),
                status=chance.choice(list(STATUS)),
                params=params,
                tags={"rare": "yes", "mlflow.parentRunId": "p"}
                if number in (7, 60, 61)
                else {"team": f"t{number % 4}"},
                ended_at=float(2 * number % 50) if number % 4 else None,
                actor=f"a{number % 3}",
                deleted_at=1.0 if number % 11 == 0 else None,
            )
            uow.runs.add(made)
            metrics = [metric("loss", chance.choice([0.1, 0.2, 0.5, math.inf, math.nan]))] if number % 4 else []
            metrics += [metric("auc", round(chance.random(), 2), step) for step in range(2)]
            if not made.deleted_at:
                uow.runs.log(made.id, metrics=metrics)
    with transactions.begin(write=False) as uow:
        return uow.runs.find(RunQuery(view=View.ALL, limit=1000))


FILTERS = [
    "",
    "metrics.loss < 0.5",
    "metrics.loss != 0.1",
    "metrics.loss > 0.1 AND metrics.loss <= 0.5 AND params.model = 'tree'",
    "metrics.auc >= 0.5 AND params.model LIKE 't%'",
    "params.model ILIKE 'TREE' OR tags.rare = 'yes'",
    "params.model LIKE 'a*_' OR params.model LIKE '50%'",
    "params.model IS NULL",
    "tags.rare IS NOT NULL AND (metrics.auc > 0.9 OR metrics.auc < 0.9)",
    "tags.mlflow.parentRunId = 'p'",
    "status = 'FINISHED' AND params.model != 'tree'",
    "status IN ('FAILED', 'RUNNING') AND run_name = 'run 3'",
    "run_id IN ('r001', 'r004', 'r999')",
    "start_time >= 20000 AND start_time < 30000",
    "metrics.nothing > 1",
]
ORDERS = [
    (),
    ("metrics.loss",),
    ("metrics.loss DESC",),
    ("metrics.loss", "params.model DESC"),
    ("start_time",),
    ("run_name", "metrics.auc DESC"),
    ("params.model",),
    ("params.model DESC", "metrics.auc"),
    ("tags.team DESC",),
]


ATTRIBUTE_ORDERS = ("start_time", "start_time DESC", "run_name DESC", "status", "duration DESC", "end_time", "user_id")


def sorted_as_asked(found: list[Run], order: tuple[str, ...]) -> list[Run]:
    found = sorted(sorted(found, key=lambda r: r.id), key=lambda r: r.started_at, reverse=True)
    for term in reversed([parse_order(text) for text in order]):
        values = {r.id: read_of(r, term.entity, term.key) for r in found}

        def is_nan(each: Run, values: dict[str, str | float | None] = values) -> bool:
            value = values[each.id]
            return isinstance(value, float) and math.isnan(value)

        have = [r for r in found if values[r.id] is not None and not is_nan(r)]
        have.sort(key=lambda r: values[r.id], reverse=term.descending)  # type: ignore[arg-type, return-value]
        found = have + [r for r in found if is_nan(r)] + [r for r in found if values[r.id] is None]
    return found


@pytest.mark.parametrize("few", [0, 2_000], ids=["walking", "driven"])
def test_finds_and_orders_as_the_filters_mean(
    transactions: SqlTransactions, runs: list[Run], few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every filter in every order, in one experiment and in both, page by page, whichever way the search goes about it."""
    monkeypatch.setattr(run_search, "_FEW", few)
    with transactions.begin(write=False) as uow:
        for text, order, experiments in itertools.product(FILTERS, ORDERS, ((0,), (0, 1), None)):
            condition = parse_filter(text)
            expected = [
                r
                for r in runs
                if not r.deleted_at
                and (experiments is None or r.experiment_number in experiments)
                and holds(condition, lambda entity, key, r=r: read_of(r, entity, key))  # type: ignore[misc]
            ]
            query = {
                "experiments": experiments,
                "condition": condition,
                "order": tuple(parse_order(each) for each in order),
            }
            found = [r.id for r in uow.runs.find(RunQuery(limit=1000, **query))]  # type: ignore[arg-type]
            assert sorted(found) == sorted(r.id for r in expected), (text, order)
            # PostgreSQL orders texts as its collation does
            if (
                not any(key in " ".join(order) for key in ("params.model", "tags.team"))
                or transactions.engine.dialect.name == "sqlite"
            ):
                assert found == [r.id for r in sorted_as_asked(expected, order)], (text, order, experiments)
            pages = [uow.runs.find(RunQuery(limit=17, offset=17 * i, **query)) for i in range(7)]  # type: ignore[arg-type]
            assert [r.id for page in pages for r in page] == found


@pytest.mark.parametrize("few", [0, 2_000], ids=["walking", "driven"])
def test_pages_follow_a_run(
    transactions: SqlTransactions, runs: list[Run], few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pages that begin behind the last run of the one before show every run once and in order, whatever the order."""
    monkeypatch.setattr(run_search, "_FEW", few)
    orders = ("", *ATTRIBUTE_ORDERS, *(order[0] for order in ORDERS if len(order) == 1))
    filters = ("", "metrics.auc < 0.8", "metrics.loss != 0.1", "params.model != 'tree'")
    with transactions.begin(write=False) as uow:
        for order, text, experiments in itertools.product(orders, filters, (None, (0,), (0, 1))):
            ordering = parse_order(order) if order else None
            query = RunQuery(
                experiments=experiments,
                condition=parse_filter(text),
                order=(ordering,) if ordering else (),
                limit=1000,
            )
            whole = [r.id for r in uow.runs.find(query)]
            seen: list[str] = []
            after = None
            while page := uow.runs.find(dataclasses.replace(query, limit=13, after=after)):
                seen += [r.id for r in page]
                after = place_of(page[-1], ordering)
                assert len(seen) <= len(whole), (order, text, experiments)
            assert len(whole) > 10 and seen == whole, (order, text, experiments)


def test_a_page_follows_a_run_in_an_order_by_one_key_only(transactions: SqlTransactions, runs: list[Run]) -> None:
    """Several keys are refused, not mistaken."""
    order = (parse_order("metrics.auc"), parse_order("run_name"))
    with transactions.begin(write=False) as uow, pytest.raises(Invalid, match="one key"):
        uow.runs.find(RunQuery(order=order, after=place_of(runs[0], order[0])))


def test_durations_are_searched_and_ordered_by(transactions: SqlTransactions) -> None:
    """A duration is seconds; a run that has not ended has none, and comes last."""
    with transactions.begin() as uow:
        for number, ended in enumerate((30.0, None, 10.0)):
            uow.runs.add(run(number, started_at=5.0, ended_at=ended))
        ordered = uow.runs.find(RunQuery(order=(parse_order("duration DESC"),)))
        assert [r.id for r in ordered] == ["r000", "r002", "r001"]
        assert [r.id for r in uow.runs.find(RunQuery(condition=parse_filter("duration > 20")))] == ["r000"]


def test_views_show_the_living_the_dead_or_all(transactions: SqlTransactions, runs: list[Run]) -> None:
    """Deleted runs are seen only when asked for."""
    with transactions.begin(write=False) as uow:
        counts = [len(uow.runs.find(RunQuery(view=view, limit=1000))) for view in View]
    assert counts == [109, 11, 120]


def test_a_run_comes_back_as_it_was(transactions: SqlTransactions) -> None:
    """With quotes, unicode and everything else a person may write."""
    texts = {"a": "ü", "x'; DROP TABLE run; --": "'\"%:;?--\n\t", "../../etc": "$1 ? %s", "k" * 250: "v" * 50_000}
    made = run(1, name="n?%s'", params=texts, tags=texts, datasets=("d@1", "d@2"), error="e", ended_at=0.1 + 0.2)
    with transactions.begin() as uow:
        assert uow.runs.add(made) == made
    with transactions.begin(write=False) as uow:
        assert uow.runs.get(made.id) == made
        assert uow.runs.get("nobody") is None


def test_a_second_run_of_an_id_is_a_conflict(transactions: SqlTransactions) -> None:
    """And one of an experiment that is not there is not found."""
    with transactions.begin() as uow:
        uow.runs.add(run(1))
        with pytest.raises(Conflict, match="r001"):
            uow.runs.add(run(1))
        with pytest.raises(NotFound, match="experiment 77"):
            uow.runs.add(run(2, experiment_number=77))


def test_a_refused_batch_leaves_nothing(transactions: SqlTransactions) -> None:
    """A param that would change takes its metrics and tags down with it."""
    with transactions.begin() as uow:
        uow.runs.add(run(1, params={"depth": "3"}))
    with pytest.raises(Conflict, match="'depth'"), transactions.begin() as uow:
        uow.runs.log("r001", tags={"a": "b"}, metrics=[metric("m", 1.0)], params={"depth": "4"})
    with transactions.begin(write=False) as uow:
        found = uow.runs.get("r001")
    assert found and (found.params, found.tags, found.metrics) == ({"depth": "3"}, {}, {})


def test_points_count_once(transactions: SqlTransactions) -> None:
    """The same again is no new one, a NaN neither; how many were new is told."""
    with transactions.begin() as uow:
        uow.runs.add(run(1))
        given = [metric("loss", 0.5, step) for step in range(700)] + [metric("loss", math.nan, 700)]
        assert uow.runs.log("r001", metrics=given) == 701
        assert uow.runs.log("r001", metrics=[*given[600:], metric("loss", 0.25, 5), metric("auc", 1.0)]) == 2
        assert uow.runs.log("r001", params={"a": "b"}) == 0
        assert len(uow.runs.history(HistoryQuery(runs=("r001",), key="loss"))) == 702


def test_where_a_runs_files_are_may_change(transactions: SqlTransactions) -> None:
    """As when an import brings them at last."""
    with transactions.begin() as uow:
        added = uow.runs.add(run(1, artifact_location="s3://bucket/1"))
        uow.runs.update(replace(added, artifact_location="mlflow-artifacts:/0/r001/artifacts", ended_at=9.0))
        found = uow.runs.get("r001")
    assert found and (found.artifact_location, found.ended_at) == ("mlflow-artifacts:/0/r001/artifacts", 9.0)


def test_nothing_is_logged_to_a_deleted_run(transactions: SqlTransactions) -> None:
    """Nor to one that is not there."""
    with transactions.begin() as uow:
        uow.runs.add(run(1, deleted_at=1.0))
        with pytest.raises(Invalid, match="restore"):
            uow.runs.log("r001", metrics=[metric("m", 1.0)])
        with pytest.raises(NotFound, match="'r002'"):
            uow.runs.log("r002", metrics=[metric("m", 1.0)])


def test_a_history_is_in_order_paged_and_sampled(transactions: SqlTransactions) -> None:
    """By time, then step, then value; a sample keeps each run's ends."""
    with transactions.begin() as uow:
        for number, length in ((1, 1000), (2, 10)):
            uow.runs.add(run(number))
            points = [metric("loss", step / 7, step, float(step)) for step in reversed(range(length))]
            uow.runs.log(f"r{number:03}", metrics=points + points[:5])
    with transactions.begin(write=False) as uow:
        whole = uow.runs.history(HistoryQuery(runs=("r001",), key="loss"))
        assert [point.step for point in whole] == list(range(1000))
        page = uow.runs.history(HistoryQuery(runs=("r001",), key="loss", limit=3, offset=5))
        assert page == whole[5:8]
        part = uow.runs.history(HistoryQuery(runs=("r001",), key="loss", first_step=10, last_step=12))
        assert [point.step for point in part] == [10, 11, 12]
        sampled = uow.runs.history(HistoryQuery(runs=("r001", "r002", "r9"), key="loss", samples=20))
        steps = {each: [p.step for p in sampled if p.run == each] for each in ("r001", "r002")}
        assert steps["r001"][0] == 0 and steps["r001"][-1] == 999 and len(steps["r001"]) <= 22
        assert steps["r002"][0] == 0 and steps["r002"][-1] == 9
