"""Runs: what an execution was given, what it recorded, and how it ended."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from tournant.domain.tracking import Experiment, Metric, Run, RunStatus, StepRun
from tournant.errors import Conflict, Invalid, NotFound
from tournant.ports import UnitOfWork
from tournant.services.context import Context, new_id
from tournant.services.lookup import find_newest, get_record

__all__ = [
    "RunDifference",
    "compare_runs",
    "create_run",
    "find_runs",
    "finish_run",
    "get_run",
    "log_metrics",
    "log_params",
    "log_step",
    "set_tags",
]

T = TypeVar("T")

_LONGEST_KEY = 250
_LONGEST_VALUE = 8_000


def create_run(
    ctx: Context,
    *,
    experiment: str = "default",
    name: str = "",
    params: Mapping[str, str] | None = None,
    tags: Mapping[str, str] | None = None,
    datasets: Sequence[str] = (),
    code: str = "",
    commit: str = "",
    environment: str = "",
) -> Run:
    """Start a run; its experiment is made on demand, and a run without a name is numbered within it."""
    _check_texts(params or {}, "param")
    _check_texts(tags or {}, "tag")
    now = ctx.clock.now()
    with ctx.transactions.begin() as uow:
        _ensure_experiment(ctx, uow, experiment)
        run = Run(
            id=new_id(),
            experiment=experiment,
            name=name or f"{experiment}-{uow.count(Run, experiment=experiment) + 1}",
            status=RunStatus.RUNNING,
            started_at=now,
            actor=ctx.actor,
            params=dict(params or {}),
            tags=dict(tags or {}),
            datasets=tuple(datasets),
            code=code,
            commit=commit,
            environment=environment,
        )
        uow.add(run)
        uow.record(ctx.event("run.created", f"run/{run.id}", f"{run.name} started", experiment=experiment))
    return run


def finish_run(ctx: Context, run_id: str, *, status: RunStatus = RunStatus.SUCCESSFUL, error: str = "") -> Run:
    """End a run; ending it again the same way changes nothing, another way is a Conflict."""
    if status is RunStatus.RUNNING:
        raise Invalid("a run ends as successful, failed or cancelled, not as running", place="status")
    with ctx.transactions.begin() as uow:
        run = _lock_run(uow, run_id)
        if run.status is status:
            return run
        if run.status is not RunStatus.RUNNING:
            raise Conflict(f"run {run.name} ({run.id}) is {run.status.value} already; start another one")
        ended = replace(run, status=status, ended_at=ctx.clock.now(), error=error)
        uow.save(ended)
        summary = f"{run.name} {status.value}" + (f": {error.splitlines()[0]}" if error else "")
        uow.record(ctx.event(f"run.{status.value}", f"run/{run.id}", summary))
    return ended


def log_metrics(ctx: Context, run_id: str, metrics: Sequence[Metric]) -> None:
    """Add metric values to a run, in one transaction; the same key and step again replaces the value.

    Invalid when a value is no finite number: nobody could compare or plot it.
    """
    for metric in metrics:
        if not math.isfinite(metric.value):
            raise Invalid(f"metric {metric.key!r} at step {metric.step} is {metric.value}, which is no number to keep")
        _check_key(metric.key, "metric")
    points = {(metric.key, metric.step): replace(metric, run=run_id) for metric in metrics}
    with ctx.transactions.begin() as uow:
        run = _lock_run(uow, run_id)
        uow.save(*points.values())
        uow.save(replace(run, metrics={**run.metrics, **_last_values(uow, run_id, points.values())}))


def log_params(ctx: Context, run_id: str, params: Mapping[str, str]) -> Run:
    """Add params to a run; Conflict when one is there with another value: what a run was given does not change."""
    _check_texts(params, "param")
    with ctx.transactions.begin() as uow:
        run = _lock_run(uow, run_id)
        for key, value in params.items():
            if run.params.get(key, value) != value:
                raise Conflict(
                    f"param {key!r} of run {run.name} is {run.params[key]!r} already; it cannot become {value!r}"
                )
        logged = replace(run, params={**run.params, **params})
        uow.save(logged)
    return logged


def set_tags(ctx: Context, run_id: str, tags: Mapping[str, str]) -> Run:
    """Set tags of a run, over those of the same name."""
    _check_texts(tags, "tag")
    with ctx.transactions.begin() as uow:
        run = _lock_run(uow, run_id)
        tagged = replace(run, tags={**run.tags, **tags})
        uow.save(tagged)
    return tagged


def log_step(ctx: Context, step: StepRun) -> None:
    """Record where a pipeline step of a run is."""
    with ctx.transactions.begin() as uow:
        uow.save(step)


def get_run(ctx: Context, run_id: str) -> Run:
    """Read one run."""
    return get_record(ctx, Run, run_id, noun="run", hint="tournant runs list")


def find_runs(
    ctx: Context,
    *,
    experiment: str | None = None,
    status: RunStatus | None = None,
    limit: int = 50,
    before: float | None = None,
) -> list[Run]:
    """Read the newest runs; `before` is the start of the last one of the page before."""
    wanted = {"experiment": experiment, "status": status}
    return find_newest(ctx, Run, time_field="started_at", limit=limit, before=before, **wanted)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunDifference:
    """Where runs differ: by kind (`params`, `metrics`, `datasets`, …) and key, one value a run (None: has none)."""

    runs: tuple[str, ...]
    params: dict[str, tuple[str | None, ...]]
    metrics: dict[str, tuple[float | None, ...]]
    inputs: dict[str, tuple[str, ...]]


def compare_runs(ctx: Context, run_ids: Sequence[str]) -> RunDifference:
    """Show in what params, metrics and inputs (code, datasets, environment) runs differ."""
    runs = [get_run(ctx, run_id) for run_id in run_ids]
    inputs = {
        "code": tuple(run.code for run in runs),
        "commit": tuple(run.commit for run in runs),
        "datasets": tuple(", ".join(run.datasets) for run in runs),
        "environment": tuple(run.environment for run in runs),
    }
    return RunDifference(
        runs=tuple(run.id for run in runs),
        params=_differing([run.params for run in runs]),
        metrics=_differing([run.metrics for run in runs]),
        inputs={key: values for key, values in inputs.items() if len(set(values)) > 1},
    )


def _differing(each: Sequence[Mapping[str, T]]) -> dict[str, tuple[T | None, ...]]:
    keys = dict.fromkeys(key for values in each for key in values)
    rows = {key: tuple(values.get(key) for values in each) for key in keys}
    return {key: row for key, row in rows.items() if len(set(row)) > 1}


def _ensure_experiment(ctx: Context, uow: UnitOfWork, name: str) -> None:
    _check_key(name, "experiment")
    if uow.get(Experiment, name) is None:
        uow.save(Experiment(name=name, created_at=ctx.clock.now()))
        uow.record(ctx.event("experiment.created", f"experiment/{name}", f"experiment {name} begun"))


def _lock_run(uow: UnitOfWork, run_id: str) -> Run:
    run = uow.get(Run, run_id, lock=True)
    if run is None:
        raise NotFound(f"there is no run {run_id!r}; list them: tournant runs list")
    return run


def _last_values(uow: UnitOfWork, run_id: str, metrics: Iterable[Metric]) -> dict[str, float]:
    """Give the value at the highest step of each key that was just logged."""
    keys = dict.fromkeys(metric.key for metric in metrics)
    newest = {key: uow.find(Metric, run=run_id, key=key, order="-step", limit=1) for key in keys}
    return {key: found[0].value for key, found in newest.items()}


def _check_texts(values: Mapping[str, str], noun: str) -> None:
    for key, value in values.items():
        _check_key(key, noun)
        if len(value) > _LONGEST_VALUE:
            raise Invalid(f"{noun} {key!r} has {len(value):,} characters; {_LONGEST_VALUE:,} are the most", place=key)


def _check_key(key: str, noun: str) -> None:
    if not key.strip() or len(key) > _LONGEST_KEY or any(ord(character) < 32 for character in key):
        raise Invalid(f"{key!r} is no name for {noun}s: 1 to {_LONGEST_KEY} printable characters", place=noun)
