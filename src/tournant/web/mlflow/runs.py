"""MLflow's endpoints of runs."""

from collections.abc import Sequence
from typing import Any

import msgspec

from tournant.api.operation import Operation
from tournant.domain.filters import parse_filter, parse_order
from tournant.domain.run_query import RunQuery, View
from tournant.domain.tracking import DatasetInput, Run, RunModel
from tournant.errors import Conflict, Invalid, NotFound
from tournant.services import tracking
from tournant.services.context import Context
from tournant.services.logged_models import log_model_metrics
from tournant.services.run_inputs import log_run_inputs, read_run_inputs
from tournant.web.mlflow.experiments import Nothing, check_limit, experiment_number, shows
from tournant.web.mlflow.messages import (
    CONTEXT,
    RUN_NAME,
    DatasetInputMessage,
    ModelInputMessage,
    ModelOutputMessage,
    RunInfoMessage,
    RunMessage,
    Tag,
    read_status,
    read_tags,
    run_info,
    run_message,
    seconds,
)
from tournant.web.mlflow.metrics import LoggedMetric, read_metrics
from tournant.web.mlflow.paging import next_token, read_token
from tournant.web.mlflow.requests import Int, Message

__all__ = ["OPERATIONS", "OfRun"]

MOST_RUNS = 50_000
MOST_METRICS, MOST_PARAMS, MOST_TAGS, MOST_ENTITIES = 1000, 100, 100, 1000
MODEL_HISTORY = "mlflow.log-model.history"
_VIEWS = {(True, False): View.ACTIVE, (False, True): View.DELETED, (True, True): View.ALL}


class CreateRun(Message, frozen=True, kw_only=True):
    """A new run."""

    experiment_id: str = "0"
    user_id: str = ""
    run_name: str = ""
    start_time: Int | None = None
    tags: list[Tag] = []


class RunAnswer(Message, frozen=True, kw_only=True):
    """One run."""

    run: RunMessage


class OfRun(Message, frozen=True, kw_only=True):
    """Which run; `run_uuid` is what old clients call it."""

    run_id: str = ""
    run_uuid: str = ""

    @property
    def run(self) -> str:
        """The run's id."""
        if not (self.run_id or self.run_uuid):
            raise Invalid(
                "Missing value for required parameter 'run_id'. See the API docs for more information about request parameters."
            )
        return self.run_id or self.run_uuid


class UpdateRun(OfRun, frozen=True, kw_only=True):
    """What changes of a run."""

    status: str | int | None = None
    end_time: Int | None = None
    run_name: str | None = None


class RunInfoAnswer(Message, frozen=True, kw_only=True):
    """What a run is now."""

    run_info: RunInfoMessage


class LogMetric(LoggedMetric, frozen=True, kw_only=True, gc=False):
    """One point."""

    run_id: str = ""
    run_uuid: str = ""


class LogParam(OfRun, frozen=True, kw_only=True):
    """One param."""

    key: str
    value: str = ""


class SetTag(OfRun, frozen=True, kw_only=True):
    """One tag."""

    key: str
    value: str = ""


class DeleteTag(OfRun, frozen=True, kw_only=True):
    """Which tag of which run."""

    key: str


class LogBatch(OfRun, frozen=True, kw_only=True):
    """Points, params and tags, all or none of which are kept."""

    metrics: list[LoggedMetric] = []
    params: list[Tag] = []
    tags: list[Tag] = []


class LogModel(OfRun, frozen=True, kw_only=True):
    """A model that was logged, as MLflow 2 tells of it."""

    model_json: str


class LogInputs(OfRun, frozen=True, kw_only=True):
    """What a run has read."""

    datasets: list[DatasetInputMessage] = []
    models: list[ModelInputMessage] = []


class LogOutputs(OfRun, frozen=True, kw_only=True):
    """What a run has made."""

    models: list[ModelOutputMessage]


class SearchRuns(Message, frozen=True, kw_only=True):
    """Which runs, in which order."""

    experiment_ids: list[str] = []
    filter: str = ""
    run_view_type: str | int = "ACTIVE_ONLY"
    max_results: Int = 1000
    order_by: list[str] = []
    page_token: str = ""


class FoundRuns(Message, frozen=True, kw_only=True):
    """A page of runs."""

    runs: list[RunMessage] = []
    next_page_token: str | None = None


def create(ctx: Context, request: CreateRun) -> RunAnswer:
    """Start a run."""
    tags = read_tags(request.tags)
    tagged = tags.pop(RUN_NAME, "")
    if tagged and request.run_name and tagged != request.run_name:
        raise Invalid(
            f"Both 'run_name' and the tag '{RUN_NAME}' are given, and differ: {request.run_name!r}, {tagged!r}"
        )
    run = tracking.create_run(
        ctx.acting_as(request.user_id or tags.get("mlflow.user", "") or ctx.actor),
        number=experiment_number(request.experiment_id),
        name=request.run_name or tagged,
        started_at=None if request.start_time is None else seconds(request.start_time),
        tags=tags,
    )
    return RunAnswer(run=run_message(run))


def get(ctx: Context, request: OfRun) -> RunAnswer:
    """Show a run."""
    return RunAnswer(run=_whole(ctx, [tracking.get_run(ctx, request.run)])[0])


def _whole(ctx: Context, runs: Sequence[Run]) -> list[RunMessage]:
    datasets, models = read_run_inputs(ctx, [run.id for run in runs])
    return [run_message(run, datasets.get(run.id, ()), models.get(run.id, ())) for run in runs]


def update(ctx: Context, request: UpdateRun) -> RunInfoAnswer:
    """Change a run's status or name."""
    run = tracking.update_run(
        ctx,
        request.run,
        name=request.run_name or None,
        status=None if request.status is None else read_status(request.status),
        ended_at=None if request.end_time is None else seconds(request.end_time),
    )
    return RunInfoAnswer(run_info=run_info(run))


def delete(ctx: Context, request: OfRun) -> Nothing:
    """Delete a run."""
    tracking.delete_run(ctx, request.run)
    return Nothing()


def restore(ctx: Context, request: OfRun) -> Nothing:
    """Restore a run."""
    tracking.restore_run(ctx, request.run)
    return Nothing()


def log_metric(ctx: Context, request: LogMetric) -> Nothing:
    """Log one point."""
    run = OfRun(run_id=request.run_id, run_uuid=request.run_uuid).run
    _log(ctx, run, [request], {}, {})
    return Nothing()


def log_param(ctx: Context, request: LogParam) -> Nothing:
    """Log one param."""
    _log(ctx, request.run, [], {request.key: request.value}, {})
    return Nothing()


def set_tag(ctx: Context, request: SetTag) -> Nothing:
    """Set one tag."""
    _log(ctx, request.run, [], {}, {request.key: request.value})
    return Nothing()


def delete_tag(ctx: Context, request: DeleteTag) -> Nothing:
    """Take one tag away."""
    if request.key not in tracking.get_run(ctx, request.run).tags:
        raise NotFound(f"No tag with name: {request.key} in run with id {request.run}")
    tracking.log(ctx, request.run, tags={request.key: None})
    return Nothing()


def log_batch(ctx: Context, request: LogBatch) -> Nothing:
    """Log many points, params and tags at once."""
    for noun, given, most in (
        ("metrics", len(request.metrics), MOST_METRICS),
        ("params", len(request.params), MOST_PARAMS),
        ("tags", len(request.tags), MOST_TAGS),
        ("metrics, params, and tags", len(request.metrics) + len(request.params) + len(request.tags), MOST_ENTITIES),
    ):
        if given > most:
            raise Invalid(f"A batch logging request can contain at most {most} {noun}. Got {given} {noun}.")
    params = read_tags(request.params)
    for param in request.params:
        if params[param.key] != param.value:
            raise Invalid(f"Changing param values is not allowed: {param.key!r} has two values in this batch")
    _log(ctx, request.run, request.metrics, params, read_tags(request.tags))
    return Nothing()


def _log(
    ctx: Context,
    run: str,
    metrics: Sequence[LoggedMetric],
    params: dict[str, str],
    tags: dict[str, str | None] | dict[str, str],
) -> None:
    name = tags.pop(RUN_NAME, None)
    try:
        tracking.log(ctx, run, metrics=read_metrics(ctx, run, metrics), params=params, tags=dict(tags))
    except Conflict as exc:
        raise Invalid(exc.message) from exc
    if any(metric.model_id for metric in metrics):
        log_model_metrics(ctx, run, [metric.of_model(run) for metric in metrics if metric.model_id])
    if name:
        tracking.update_run(ctx, run, name=name)


def log_model(ctx: Context, request: LogModel) -> Nothing:
    """Note in a tag of the run that it has logged a model."""
    try:
        model = msgspec.json.decode(request.model_json)
    except msgspec.DecodeError as exc:
        raise Invalid(f"Malformed model info: it is not JSON ({exc})") from exc
    missing = {"artifact_path", "flavors", "utc_time_created", "run_id"} - set(model if isinstance(model, dict) else ())
    if missing:
        raise Invalid(f"Model json is missing mandatory fields: {', '.join(sorted(missing))}")
    before = tracking.get_run(ctx, request.run).tags.get(MODEL_HISTORY, "[]")
    history = msgspec.json.encode([*msgspec.json.decode(before), model]).decode()
    tracking.log(ctx, request.run, tags={MODEL_HISTORY: history})
    return Nothing()


def log_inputs(ctx: Context, request: LogInputs) -> Nothing:
    """Note what a run has read."""
    datasets = [_dataset_input(request.run, given) for given in request.datasets]
    models = [RunModel(run=request.run, model=each.model_id, role="input") for each in request.models]
    log_run_inputs(ctx, request.run, datasets=datasets, models=models)
    return Nothing()


def _dataset_input(run: str, given: DatasetInputMessage) -> DatasetInput:
    tags = read_tags(given.tags)
    return DatasetInput(
        run=run,
        name=given.dataset.name,
        digest=given.dataset.digest,
        source_type=given.dataset.source_type,
        source=given.dataset.source,
        schema=given.dataset.schema,
        profile=given.dataset.profile,
        context=tags.pop(CONTEXT, ""),
        tags=tags,
    )


def log_outputs(ctx: Context, request: LogOutputs) -> Nothing:
    """Note what a run has made."""
    models = [RunModel(run=request.run, model=each.model_id, role="output", step=each.step) for each in request.models]
    log_run_inputs(ctx, request.run, models=models)
    return Nothing()


def search(ctx: Context, request: SearchRuns) -> FoundRuns:
    """Find runs; without an order, the newest come first."""
    limit = check_limit(request.max_results, MOST_RUNS)
    offset = read_token(request.page_token)
    order = tuple(parse_order(text) for text in request.order_by)
    if len({(term.entity, term.key) for term in order}) < len(order):
        raise Invalid(f"`order_by` contains duplicate fields: {request.order_by}")
    numbers = (int(text) for text in request.experiment_ids if text.isascii() and text.isdigit() and len(text) <= 18)
    found = tracking.search_runs(
        ctx,
        RunQuery(
            experiments=tuple(numbers),
            condition=parse_filter(request.filter),
            order=order,
            view=_VIEWS[shows(request.run_view_type)],
            limit=limit + 1,
            offset=offset,
        ),
    )
    token = next_token(offset + limit) if len(found) > limit else None
    return FoundRuns(runs=_whole(ctx, found[:limit]), next_page_token=token)


def _at(name: str, request: Any, response: Any, handler: Any, method: str = "POST") -> Operation[Any, Any]:
    return Operation(
        name=f"mlflow.runs.{name}",
        method=method,
        path=f"/2.0/mlflow/runs/{name}",
        request=request,
        response=response,
        handler=handler,
    )


OPERATIONS: tuple[Operation[Any, Any], ...] = (
    _at("create", CreateRun, RunAnswer, create),
    _at("get", OfRun, RunAnswer, get, "GET"),
    _at("update", UpdateRun, RunInfoAnswer, update),
    _at("delete", OfRun, Nothing, delete),
    _at("restore", OfRun, Nothing, restore),
    _at("search", SearchRuns, FoundRuns, search),
    _at("log-metric", LogMetric, Nothing, log_metric),
    _at("log-parameter", LogParam, Nothing, log_param),
    _at("log-batch", LogBatch, Nothing, log_batch),
    _at("log-model", LogModel, Nothing, log_model),
    _at("log-inputs", LogInputs, Nothing, log_inputs),
    _at("outputs", LogOutputs, Nothing, log_outputs),
    _at("set-tag", SetTag, Nothing, set_tag),
    _at("delete-tag", DeleteTag, Nothing, delete_tag),
)
