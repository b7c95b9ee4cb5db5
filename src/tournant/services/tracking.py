"""Runs: what an execution was given, what it recorded, and how it ended."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from tournant.domain.run_query import All, Comparison, Condition, Entity, HistoryQuery, Ordering, RunQuery
from tournant.domain.tracking import DEFAULT_EXPERIMENT, Experiment, Metric, Run, RunStatus, StepRun
from tournant.errors import Conflict, Invalid, NotFound
from tournant.ports import UnitOfWork
from tournant.services.context import Context, new_id
from tournant.services.experiments import ensure_experiment
from tournant.services.texts import check_key, check_texts

__all__ = [
    "LARGEST_PAGE",
    "RunDifference",
    "compare_runs",
    "create_run",
    "delete_run",
    "find_runs",
    "finish_run",
    "get_run",
    "log",
    "log_step",
    "read_history",
    "restore_run",
    "search_runs",
    "update_run",
]

T = TypeVar("T")
LARGEST_PAGE = 1000


def create_run(
    ctx: Context,
    *,
    run_id: str = "",
    experiment: str = DEFAULT_EXPERIMENT,
    number: int | None = None,
    name: str = "",
    started_at: float | None = None,
    params: Mapping[str, str] | None = None,
    tags: Mapping[str, str] | None = None,
    datasets: Sequence[str] = (),
    code: str = "",
    commit: str = "",
    environment: str = "",
) -> Run:
    """Start a run in an experiment, by name (begun on demand) or by number; without a name it is numbered within it.

    Whoever gives an id may ask again: the run that has it is given back.
    """
    check_texts(params or {}, "param")
    check_texts(tags or {}, "tag")
    if name:
        check_key(name, "run", longest=LARGEST_PAGE)
    with ctx.transactions.begin() as uow:
        known = uow.runs.get(run_id) if run_id else None
        if known:
            return known
        place = ensure_experiment(ctx, uow, experiment) if number is None else _open_experiment(uow, number)
        run_id = run_id or new_id()
        run = uow.runs.add(
            Run(
                id=run_id,
                experiment=place.name,
                experiment_number=place.number,
                name=name,
                status=RunStatus.RUNNING,
                started_at=ctx.clock.now() if started_at is None else started_at,
                actor=ctx.actor,
                params=dict(params or {}),
                tags=dict(tags or {}),
                datasets=tuple(datasets),
                code=code,
                commit=commit,
                environment=environment,
                artifact_location=f"{place.artifact_location}/{run_id}/artifacts",
            )
        )
        uow.record(ctx.event("run.created", f"run/{run.id}", f"{run.name} started", experiment=place.name))
    return run


def finish_run(
    ctx: Context,
    run_id: str,
    *,
    status: RunStatus = RunStatus.SUCCESSFUL,
    error: str = "",
    ended_at: float | None = None,
) -> Run:
    """End a run; ending it again the same way changes nothing, another way is a Conflict."""
    if status in (RunStatus.PENDING, RunStatus.RUNNING):
        raise Invalid(f"a run ends as successful, failed or cancelled, not as {status.value}", place="status")
    with ctx.transactions.begin() as uow:
        run = _lock_run(uow, run_id)
        if run.status is status:
            return run
        if run.status not in (RunStatus.PENDING, RunStatus.RUNNING):
            raise Conflict(f"run {run.name} ({run.id}) is {run.status.value} already; start another one")
        return _set_status(
            ctx, uow, run, status, ended_at=ctx.clock.now() if ended_at is None else ended_at, error=error
        )


def update_run(
    ctx: Context,
    run_id: str,
    *,
    name: str | None = None,
    status: RunStatus | None = None,
    ended_at: float | None = None,
) -> Run:
    """Change a run's name or status as its client says: a run may go on after it has ended.

    A pipeline's run is begun and ended by its pipeline, whatever a client within a step says.
    """
    if name is not None:
        check_key(name, "run", longest=LARGEST_PAGE)
    with ctx.transactions.begin() as uow:
        run = _lock_run(uow, run_id)
        _refuse_deleted(run)
        if name is not None and name != run.name:
            run = replace(run, name=name)
            uow.runs.update(run)
        if (status is None and ended_at is None) or uow.count(StepRun, run=run.id):
            return run
        ended_at = run.ended_at if ended_at is None else ended_at
        if status in (RunStatus.PENDING, RunStatus.RUNNING):
            ended_at = None
        return _set_status(ctx, uow, run, status or run.status, ended_at=ended_at, error=run.error)


def _set_status(
    ctx: Context, uow: UnitOfWork, run: Run, status: RunStatus, *, ended_at: float | None, error: str
) -> Run:
    changed = replace(run, status=status, ended_at=ended_at, error=error)
    uow.runs.update(changed)
    if status is not run.status:
        summary = f"{run.name} {status.value}" + (f": {error.splitlines()[0]}" if error else "")
        uow.record(ctx.event(f"run.{status.value}", f"run/{run.id}", summary))
    return changed


def delete_run(ctx: Context, run_id: str) -> Run:
    """Delete a run; it can be restored until it is purged (`purging`). Deleting it again changes nothing."""
    with ctx.transactions.begin() as uow:
        run = _lock_run(uow, run_id)
        if run.deleted_at is not None:
            return run
        return _change_life(ctx, uow, run, ctx.clock.now())


def restore_run(ctx: Context, run_id: str) -> Run:
    """Restore a deleted run; Invalid when its experiment is deleted."""
    with ctx.transactions.begin() as uow:
        run = _lock_run(uow, run_id)
        _open_experiment(uow, run.experiment_number)
        if run.deleted_at is None:
            return run
        return _change_life(ctx, uow, run, None)


def _change_life(ctx: Context, uow: UnitOfWork, run: Run, deleted_at: float | None) -> Run:
    changed = replace(run, deleted_at=deleted_at)
    verb = "restored" if deleted_at is None else "deleted"
    uow.runs.update(changed)
    uow.record(ctx.event(f"run.{verb}", f"run/{run.id}", f"{run.name} {verb}"))
    return changed


def log(
    ctx: Context,
    run_id: str,
    *,
    metrics: Sequence[Metric] = (),
    params: Mapping[str, str] | None = None,
    tags: Mapping[str, str | None] | None = None,
) -> None:
    """Add metrics, params and tags to a run in one transaction; a tag of None is taken away.

    A point may be logged twice and counts once. Conflict when a param has another value already: what a run was given does
    not change.
    """
    for key in {metric.key for metric in metrics}:
        check_key(key, "metric")
    check_texts(params or {}, "param")
    check_texts({key: value or "" for key, value in (tags or {}).items()}, "tag")
    with ctx.transactions.begin() as uow:
        uow.runs.log(run_id, metrics=metrics, params=params, tags=tags)


def log_step(ctx: Context, step: StepRun) -> None:
    """Record where a pipeline step of a run is."""
    with ctx.transactions.begin() as uow:
        uow.save(step)


def get_run(ctx: Context, run_id: str) -> Run:
    """Read one run."""
    with ctx.transactions.begin(write=False) as uow:
        return _required_run(uow.runs.get(run_id), run_id)


def search_runs(ctx: Context, query: RunQuery) -> list[Run]:
    """Find runs by a condition, in order."""
    with ctx.transactions.begin(write=False) as uow:
        return uow.runs.find(query)


def find_runs(
    ctx: Context,
    *,
    experiment: str | None = None,
    status: RunStatus | None = None,
    limit: int = 50,
    before: float | None = None,
    condition: Condition | None = None,
    order: tuple[Ordering, ...] = (),
) -> list[Run]:
    """Read runs, the newest first unless ordered; `before` is the start of the last one of the page before."""
    if not 1 <= limit <= LARGEST_PAGE:
        raise Invalid(f"limit must be between 1 and {LARGEST_PAGE}, not {limit}", place="limit")
    conditions: list[Condition] = [condition] if condition else []
    if status is not None:
        conditions.append(Comparison(entity=Entity.ATTRIBUTE, key="status", operator="=", value=status.value))
    if before is not None:
        conditions.append(Comparison(entity=Entity.ATTRIBUTE, key="start_time", operator="<", value=1000 * before))
    with ctx.transactions.begin(write=False) as uow:
        numbers = None
        if experiment is not None:
            numbers = tuple(found.number for found in uow.find(Experiment, name=experiment))
        query = RunQuery(experiments=numbers, condition=All(tuple(conditions)), order=order, limit=limit)
        return uow.runs.find(query)


def read_history(ctx: Context, query: HistoryQuery) -> list[Metric]:
    """Read points of a metric; NotFound when one of the runs does not exist."""
    with ctx.transactions.begin(write=False) as uow:
        return uow.runs.history(query)


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


def _open_experiment(uow: UnitOfWork, number: int) -> Experiment:
    experiment = uow.get(Experiment, number)
    if experiment is None:
        raise NotFound(f"No Experiment with id={number} exists")
    if experiment.deleted_at is not None:
        raise Invalid(
            f"The experiment {number} ({experiment.name}) must be in the 'active' state. Current state is deleted."
        )
    return experiment


def _lock_run(uow: UnitOfWork, run_id: str) -> Run:
    return _required_run(uow.runs.get(run_id, lock=True), run_id)


def _required_run(run: Run | None, run_id: str) -> Run:
    if run is None:
        raise NotFound(f"Run with id={run_id} not found; list them: tournant runs list")
    return run


def _refuse_deleted(run: Run) -> None:
    if run.deleted_at is not None:
        raise Invalid(f"The run {run.id} must be in the 'active' state. Current state is deleted.")
