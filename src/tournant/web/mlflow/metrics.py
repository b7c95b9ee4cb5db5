"""MLflow's endpoints of metric histories, and how it sends a point."""

import math
from collections.abc import Sequence
from typing import Any

from tournant.api.operation import Operation
from tournant.domain.logged_models import ModelMetric
from tournant.domain.run_query import HistoryQuery
from tournant.domain.tracking import Metric
from tournant.errors import Invalid
from tournant.services import tracking
from tournant.services.context import Context
from tournant.web.mlflow.experiments import check_limit
from tournant.web.mlflow.messages import MetricMessage, metric_message, seconds
from tournant.web.mlflow.paging import next_token, read_token
from tournant.web.mlflow.requests import Int, Message

__all__ = ["OPERATIONS", "LoggedMetric", "read_metrics"]

MOST_RUNS = 100
MOST_POINTS = 25_000  # of a run, in bulk
MOST_SAMPLES = 2_500


class LoggedMetric(Message, frozen=True, kw_only=True, gc=False):
    """A point that a client sends."""

    key: str
    value: float
    timestamp: Int | None = None
    step: Int = 0
    model_id: str = ""
    dataset_name: str = ""
    dataset_digest: str = ""

    def of_model(self, run: str) -> ModelMetric:
        """Give it as a logged model's."""
        return ModelMetric(
            model=self.model_id,
            key=self.key,
            value=None if math.isnan(self.value) else self.value,
            step=self.step,
            time=seconds(self.timestamp or 0),
            run=run,
            dataset_name=self.dataset_name,
            dataset_digest=self.dataset_digest,
        )


class GetHistory(Message, frozen=True, kw_only=True):
    """Which metric of which run."""

    metric_key: str
    run_id: str = ""
    run_uuid: str = ""
    page_token: str = ""
    max_results: Int | None = None


class GetHistories(Message, frozen=True, kw_only=True):
    """Which metric of which runs."""

    metric_key: str
    run_id: list[str]
    max_results: Int = MOST_POINTS


class SampleHistories(Message, frozen=True, kw_only=True):
    """Which metric of which runs, between which steps, how many steps of each."""

    metric_key: str
    run_ids: list[str]
    start_step: Int | None = None
    end_step: Int | None = None
    max_results: Int = MOST_SAMPLES


class Points(Message, frozen=True, kw_only=True):
    """Points of a metric."""

    metrics: list[MetricMessage] = []
    next_page_token: str | None = None


def read_metrics(ctx: Context, run: str, given: Sequence[LoggedMetric]) -> list[Metric]:
    """Read points that a client sends; one without a time is of now."""
    now = ctx.clock.now()
    return [
        Metric(
            run=run,
            key=metric.key,
            step=metric.step,
            time=now if metric.timestamp is None else metric.timestamp / 1000,
            value=metric.value,
        )
        for metric in given
    ]


def get_history(ctx: Context, request: GetHistory) -> Points:
    """Show a metric's history, all of it unless pages are asked for."""
    run, offset, limit = request.run_id or request.run_uuid, read_token(request.page_token), request.max_results
    if limit is not None:
        check_limit(limit, 2**31)
    tracking.get_run(ctx, run)
    size = None if limit is None else limit + 1
    points = tracking.read_history(ctx, HistoryQuery(runs=(run,), key=request.metric_key, limit=size, offset=offset))
    more = limit is not None and len(points) > limit
    token = next_token(offset + limit) if limit is not None and more else None
    return Points(metrics=[metric_message(point) for point in points[:limit]], next_page_token=token)


def get_histories(ctx: Context, request: GetHistories) -> Points:
    """Show a metric's history in several runs."""
    _check_runs(request.run_id, "GetMetricHistoryBulk")
    limit = min(check_limit(request.max_results, 2**31), MOST_POINTS)
    found = [
        metric_message(point, run=True)
        for run in sorted(set(request.run_id))
        for point in tracking.read_history(ctx, HistoryQuery(runs=(run,), key=request.metric_key, limit=limit))
    ]
    return Points(metrics=found)


def sample_histories(ctx: Context, request: SampleHistories) -> Points:
    """Show some steps of a metric's history in several runs, evenly spread."""
    _check_runs(request.run_ids, "GetMetricHistoryBulkInterval")
    if (request.start_step is None) != (request.end_step is None):
        raise Invalid("If either start step or end step are specified, both must be specified.")
    if request.start_step is not None and request.end_step is not None and request.start_step > request.end_step:
        raise Invalid(
            "end_step must be greater than start_step. "
            f"Found start_step={request.start_step} and end_step={request.end_step}."
        )
    points = tracking.read_history(
        ctx,
        HistoryQuery(
            runs=tuple(request.run_ids),
            key=request.metric_key,
            first_step=request.start_step,
            last_step=request.end_step,
            samples=check_limit(request.max_results, MOST_SAMPLES),
        ),
    )
    return Points(metrics=[metric_message(point, run=True) for point in points])


def _check_runs(runs: Sequence[str], name: str) -> None:
    if not runs:
        raise Invalid(f"{name} request must specify at least one run_id.")
    if len(runs) > MOST_RUNS:
        raise Invalid(f"{name} request cannot specify more than {MOST_RUNS} run_ids. Received {len(runs)} run_ids.")


def _at(name: str, request: Any, handler: Any) -> Operation[Any, Any]:
    path = f"/2.0/mlflow/metrics/{name}"
    return Operation(
        name=f"mlflow.metrics.{name}", method="GET", path=path, request=request, response=Points, handler=handler
    )


OPERATIONS: tuple[Operation[Any, Any], ...] = (
    _at("get-history", GetHistory, get_history),
    _at("get-history-bulk", GetHistories, get_histories),
    _at("get-history-bulk-interval", SampleHistories, sample_histories),
)
