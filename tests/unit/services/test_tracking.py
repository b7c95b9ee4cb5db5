"""Runs and what they record."""

import math

import pytest

from tournant.domain.control import Event
from tournant.domain.run_query import HistoryQuery
from tournant.domain.tracking import Experiment, Metric, RunStatus
from tournant.errors import Conflict, Invalid, NotFound
from tournant.services.context import Context
from tournant.services.tracking import (
    compare_runs,
    create_run,
    find_runs,
    finish_run,
    get_run,
    log,
    read_history,
)


def metric(key: str, step: int, value: float) -> Metric:
    return Metric(run="", key=key, step=step, time=0.0, value=value)


def test_an_experiment_is_made_on_demand_and_numbers_its_runs(context: Context) -> None:
    """The first run makes its experiment; the next ones count on."""
    names = [create_run(context, experiment="x").name for _ in range(2)]
    assert names == ["x-1", "x-2"]
    with context.transactions.begin(write=False) as uow:
        assert [found.name for found in uow.find(Experiment, order="number")] == ["Default", "x"]
        assert [event.kind for event in uow.find(Event, order="recorded_at")] == [
            "experiment.created",
            "run.created",
            "run.created",
        ]


def test_the_last_value_is_that_of_the_highest_step(context: Context) -> None:
    """Whatever the order of logging; the same point again counts once, another value of a step is another point."""
    run = create_run(context)
    log(context, run.id, metrics=[metric("loss", 2, 0.2), metric("loss", 1, 0.1), metric("auc", 0, 0.9)])
    log(context, run.id, metrics=[metric("loss", 1, 0.15), metric("loss", 2, 0.2)])
    found = get_run(context, run.id)
    assert found.metrics == {"loss": 0.2, "auc": 0.9}
    assert found.measured == {"loss": (2, 0.0), "auc": (0, 0.0)}
    points = read_history(context, HistoryQuery(runs=(run.id,), key="loss"))
    assert [(point.step, point.value) for point in points] == [(1, 0.1), (1, 0.15), (2, 0.2)]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e308, 5e-324])
def test_every_float_comes_back(context: Context, value: float) -> None:
    """A loss that became NaN or infinite is what somebody wants to know."""
    run = create_run(context)
    log(context, run.id, metrics=[metric("loss", 3, value)])
    (point,) = read_history(context, HistoryQuery(runs=(run.id,), key="loss"))
    for found in (point.value, get_run(context, run.id).metrics["loss"]):
        assert found == value or (math.isnan(found) and math.isnan(value))


def test_params_do_not_change_but_tags_do(context: Context) -> None:
    """What a run was given is a fact; what is said of it is not."""
    run = create_run(context, params={"depth": "3"}, tags={"owner": "ada"})
    log(context, run.id, params={"depth": "3", "rate": "0.1"})
    with pytest.raises(Conflict, match="'depth' of run Default-1 is '3' already"):
        log(context, run.id, params={"depth": "4"}, tags={"owner": "mallory"})
    log(context, run.id, tags={"owner": "eve", "gone": "x"})
    log(context, run.id, tags={"gone": None})
    found = get_run(context, run.id)
    assert (found.params, found.tags) == ({"depth": "3", "rate": "0.1"}, {"owner": "eve"})


@pytest.mark.parametrize("params", [{"": "x"}, {"a\nb": "x"}, {"k" * 251: "x"}, {"k": "x" * 100_001}, {"k": "a\0b"}])
def test_unreasonable_params_are_refused(context: Context, params: dict[str, str]) -> None:
    """Names that nobody can show, values that are files."""
    with pytest.raises(Invalid):
        create_run(context, params=params)


def test_a_run_ends_once(context: Context) -> None:
    """Ending it again the same way changes nothing; another way is a conflict."""
    run = create_run(context)
    ended = finish_run(context, run.id)
    assert (ended.status, ended.ended_at) == (RunStatus.SUCCESSFUL, context.clock.now())
    assert finish_run(context, run.id) == ended
    with pytest.raises(Conflict, match="successful already"):
        finish_run(context, run.id, status=RunStatus.FAILED)
    with pytest.raises(Invalid):
        finish_run(context, run.id, status=RunStatus.RUNNING)
    with pytest.raises(NotFound, match="tournant runs list"):
        finish_run(context, "nobody")


def test_pages_follow_each_other(context: Context, clock: object) -> None:
    """The start of a page's last run leads to the next page."""
    for _ in range(5):
        create_run(context)
        clock.advance(1.0)  # type: ignore[attr-defined]
    first = find_runs(context, limit=3)
    second = find_runs(context, limit=3, before=first[-1].started_at)
    assert [run.name for run in (*first, *second)] == [f"Default-{number}" for number in (5, 4, 3, 2, 1)]
    assert find_runs(context, experiment="other") == []


def test_comparing_shows_only_what_differs(context: Context) -> None:
    """Equal params and inputs stay out; a missing value is None."""
    a = create_run(context, params={"depth": "3", "seed": "0"}, datasets=("d@1",), code="c")
    b = create_run(context, params={"depth": "4", "seed": "0"}, datasets=("d@2",), code="c")
    log(context, a.id, metrics=[metric("auc", 0, 0.5)])
    difference = compare_runs(context, [a.id, b.id])
    assert difference.params == {"depth": ("3", "4")}
    assert difference.metrics == {"auc": (0.5, None)}
    assert difference.inputs == {"datasets": ("d@1", "d@2")}
