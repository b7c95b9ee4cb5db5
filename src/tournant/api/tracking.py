"""Operations on runs."""

from typing import Annotated, Any, Literal

import msgspec

from tournant.api.operation import Operation, Page
from tournant.domain.filters import parse_filter, parse_order
from tournant.domain.run_query import HistoryQuery
from tournant.domain.tracking import DEFAULT_EXPERIMENT, Metric, Run, RunStatus, StepRun
from tournant.services import tracking
from tournant.services.context import Context

__all__ = ["OPERATIONS"]


class ListRuns(Page, frozen=True, kw_only=True):
    """Which runs."""

    experiment: str | None = None
    status: RunStatus | None = None
    filter: str = ""
    order: str = ""


class GetRun(msgspec.Struct, frozen=True, kw_only=True):
    """Which run."""

    id: str


class RunDetails(msgspec.Struct, frozen=True, kw_only=True):
    """A run with its steps."""

    run: Run
    steps: list[StepRun]


class CompareRuns(msgspec.Struct, frozen=True, kw_only=True):
    """Which runs, at most a hundred."""

    ids: Annotated[list[str], msgspec.Meta(min_length=1, max_length=100)]


class CreateRun(msgspec.Struct, frozen=True, kw_only=True):
    """A new run, in an experiment by name or number. With an `id` (32 hexadecimal digits) it is made once, however often one asks."""

    experiment: str = DEFAULT_EXPERIMENT
    experiment_number: int | None = None
    name: str = ""
    id: Annotated[str, msgspec.Meta(pattern="^([0-9a-f]{32})?$")] = ""
    started_at: float | None = None
    params: dict[str, str] = {}
    tags: dict[str, str] = {}


class LoggedMetric(msgspec.Struct, frozen=True, kw_only=True):
    """One metric value."""

    key: str
    value: float | Literal["NaN", "Infinity", "-Infinity"]
    step: int = 0
    time: float | None = None


class LogToRun(msgspec.Struct, frozen=True, kw_only=True):
    """What to add to a run."""

    id: str
    metrics: list[LoggedMetric] = []
    params: dict[str, str] = {}
    tags: dict[str, str | None] = {}


class FinishRun(msgspec.Struct, frozen=True, kw_only=True):
    """How a run ended."""

    id: str
    status: RunStatus = RunStatus.SUCCESSFUL
    error: str = ""
    ended_at: float | None = None


class GetMetric(msgspec.Struct, frozen=True, kw_only=True):
    """Which metric of which run."""

    id: str
    key: str


def list_runs(ctx: Context, request: ListRuns) -> list[Run]:
    """List runs that a filter finds (as in MLflow), the newest first unless ordered otherwise."""
    return tracking.find_runs(
        ctx,
        experiment=request.experiment,
        status=request.status,
        limit=request.limit,
        before=request.before,
        condition=parse_filter(request.filter),
        order=(parse_order(request.order),) if request.order else (),
    )


def get_run(ctx: Context, request: GetRun) -> RunDetails:
    """Show one run with its steps."""
    run = tracking.get_run(ctx, request.id)
    with ctx.transactions.begin(write=False) as uow:
        return RunDetails(run=run, steps=uow.find(StepRun, run=run.id, order="position"))


def compare_runs(ctx: Context, request: CompareRuns) -> tracking.RunDifference:
    """Show in what runs differ."""
    return tracking.compare_runs(ctx, request.ids)


def create_run(ctx: Context, request: CreateRun) -> Run:
    """Start a run that a script logs to."""
    return tracking.create_run(
        ctx,
        run_id=request.id,
        experiment=request.experiment,
        number=request.experiment_number,
        name=request.name,
        started_at=request.started_at,
        params=request.params,
        tags=request.tags,
    )


def log_to_run(ctx: Context, request: LogToRun) -> Run:
    """Add metrics, params and tags to a run."""
    now = ctx.clock.now()
    metrics = [
        Metric(run=request.id, key=m.key, step=m.step, value=float(m.value), time=now if m.time is None else m.time)
        for m in request.metrics
    ]
    tracking.log(ctx, request.id, metrics=metrics, params=request.params, tags=request.tags)
    return tracking.get_run(ctx, request.id)


def finish_run(ctx: Context, request: FinishRun) -> Run:
    """End a run."""
    return tracking.finish_run(ctx, request.id, status=request.status, error=request.error, ended_at=request.ended_at)


def delete_run(ctx: Context, request: GetRun) -> Run:
    """Delete a run; it can be restored."""
    return tracking.delete_run(ctx, request.id)


def restore_run(ctx: Context, request: GetRun) -> Run:
    """Restore a deleted run."""
    return tracking.restore_run(ctx, request.id)


def get_metric(ctx: Context, request: GetMetric) -> list[Metric]:
    """Show a metric's whole history."""
    return tracking.read_history(ctx, HistoryQuery(runs=(request.id,), key=request.key))


OPERATIONS: tuple[Operation[Any, Any], ...] = (
    Operation(name="runs.list", method="GET", path="/runs", request=ListRuns, response=list[Run], handler=list_runs),
    Operation(name="runs.get", method="GET", path="/runs/{id}", request=GetRun, response=RunDetails, handler=get_run),
    Operation(
        name="runs.diff",
        method="POST",
        path="/runs-diff",
        request=CompareRuns,
        response=tracking.RunDifference,
        handler=compare_runs,
    ),
    Operation(name="runs.create", method="POST", path="/runs", request=CreateRun, response=Run, handler=create_run),
    Operation(
        name="runs.log", method="POST", path="/runs/{id}/log", request=LogToRun, response=Run, handler=log_to_run
    ),
    Operation(
        name="runs.finish", method="POST", path="/runs/{id}/finish", request=FinishRun, response=Run, handler=finish_run
    ),
    Operation(name="runs.delete", method="DELETE", path="/runs/{id}", request=GetRun, response=Run, handler=delete_run),
    Operation(
        name="runs.restore", method="POST", path="/runs/{id}/restore", request=GetRun, response=Run, handler=restore_run
    ),
    Operation(
        name="runs.metric",
        method="GET",
        path="/runs/{id}/metrics/{key}",
        request=GetMetric,
        response=list[Metric],
        handler=get_metric,
    ),
)
