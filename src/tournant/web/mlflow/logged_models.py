"""MLflow's endpoints of logged models."""

from collections.abc import Sequence
from typing import Any

from tournant.api.operation import Operation
from tournant.domain.filters import Language, holds, parse_filter
from tournant.domain.logged_models import LoggedModel, LoggedModelStatus, ModelMetric
from tournant.domain.registry import ModelVersion
from tournant.domain.run_query import Entity
from tournant.errors import Conflict, Invalid
from tournant.services import logged_models
from tournant.services.context import Context
from tournant.web.mlflow.experiments import Nothing, check_limit, experiment_number
from tournant.web.mlflow.messages import Number, Tag, TagOut, milliseconds, number_text, read_tags, tags_of
from tournant.web.mlflow.paging import slice_page
from tournant.web.mlflow.requests import Int, Message

__all__ = ["OPERATIONS"]

_STATUSES = {
    LoggedModelStatus.UNSPECIFIED: "LOGGED_MODEL_STATUS_UNSPECIFIED",
    LoggedModelStatus.PENDING: "LOGGED_MODEL_PENDING",
    LoggedModelStatus.READY: "LOGGED_MODEL_READY",
    LoggedModelStatus.FAILED: "LOGGED_MODEL_UPLOAD_FAILED",
}
_READABLE: dict[str | int, LoggedModelStatus] = {name: status for status, name in _STATUSES.items()}
_READABLE |= dict(enumerate(_STATUSES))
_LANGUAGE = Language(
    noun="logged models",
    entities=(Entity.ATTRIBUTE, Entity.METRIC, Entity.PARAM, Entity.TAG),
    numbers=("creation_timestamp", "last_updated_timestamp"),
    texts=("name", "model_id", "model_type", "status", "source_run_id", "experiment_id", "artifact_location"),
    aliases={"creation_time": "creation_timestamp", "last_updated_time": "last_updated_timestamp"},
)


class CreateLoggedModel(Message, frozen=True, kw_only=True):
    """A new logged model."""

    experiment_id: str
    name: str = ""
    model_type: str = ""
    source_run_id: str = ""
    params: list[Tag] = []
    tags: list[Tag] = []


class ModelId(Message, frozen=True, kw_only=True):
    """Which logged model."""

    model_id: str


class FinalizeLoggedModel(ModelId, frozen=True, kw_only=True):
    """Whether its files are there."""

    status: str | int


class SetModelTags(ModelId, frozen=True, kw_only=True):
    """Tags to set."""

    tags: list[Tag] = []


class DeleteModelTag(ModelId, frozen=True, kw_only=True):
    """A tag to take away."""

    tag_key: str


class LogModelParams(ModelId, frozen=True, kw_only=True):
    """Params to add."""

    params: list[Tag] = []


class DatasetFilter(Message, frozen=True, kw_only=True):
    """On which dataset a metric was measured."""

    dataset_name: str = ""
    dataset_digest: str = ""


class ModelOrder(DatasetFilter, frozen=True, kw_only=True):
    """What to order by."""

    field_name: str
    ascending: bool = True


class SearchLoggedModels(Message, frozen=True, kw_only=True):
    """Which logged models, in which order."""

    experiment_ids: list[str] = []
    filter: str = ""
    datasets: list[DatasetFilter] = []
    max_results: Int = 50
    order_by: list[ModelOrder] = []
    page_token: str = ""


class Registration(Message, frozen=True, kw_only=True):
    """A model version that it was registered as."""

    name: str
    version: str


class LoggedModelInfo(Message, frozen=True, kw_only=True):
    """What it is."""

    model_id: str
    experiment_id: str
    name: str
    creation_timestamp_ms: int
    last_updated_timestamp_ms: int
    artifact_uri: str
    status: str
    model_type: str
    source_run_id: str
    tags: list[TagOut] = []
    registrations: list[Registration] = []


class MeasuredMetric(Message, frozen=True, kw_only=True):
    """A metric of it."""

    key: str
    value: Number
    timestamp: int
    step: int
    model_id: str
    run_id: str
    dataset_name: str | None = None
    dataset_digest: str | None = None


class LoggedModelData(Message, frozen=True, kw_only=True):
    """What was recorded of it."""

    params: list[TagOut] = []
    metrics: list[MeasuredMetric] = []


class LoggedModelMessage(Message, frozen=True, kw_only=True):
    """A logged model."""

    info: LoggedModelInfo
    data: LoggedModelData


class LoggedModelAnswer(Message, frozen=True, kw_only=True):
    """One logged model."""

    model: LoggedModelMessage


class FoundLoggedModels(Message, frozen=True, kw_only=True):
    """A page of logged models."""

    models: list[LoggedModelMessage] = []
    next_page_token: str | None = None


def create(ctx: Context, request: CreateLoggedModel) -> LoggedModelAnswer:
    """Begin a logged model."""
    made = logged_models.create_logged_model(
        ctx,
        experiment_number(request.experiment_id),
        name=request.name,
        model_type=request.model_type,
        run=request.source_run_id,
        params=read_tags(request.params),
        tags=read_tags(request.tags),
    )
    return _one(ctx, made)


def get(ctx: Context, request: ModelId) -> LoggedModelAnswer:
    """Show a logged model."""
    return _one(ctx, logged_models.get_logged_model(ctx, request.model_id))


def finalize(ctx: Context, request: FinalizeLoggedModel) -> LoggedModelAnswer:
    """Say that its files are there, or will not come."""
    status = _READABLE.get(request.status)
    if status not in (LoggedModelStatus.READY, LoggedModelStatus.FAILED):
        raise Invalid(f"Invalid model status: {request.status!r}. Expected one of READY and UPLOAD_FAILED.")
    return _one(ctx, logged_models.finalize_logged_model(ctx, request.model_id, status))


def delete(ctx: Context, request: ModelId) -> Nothing:
    """Delete a logged model."""
    logged_models.delete_logged_model(ctx, request.model_id)
    return Nothing()


def set_tags(ctx: Context, request: SetModelTags) -> LoggedModelAnswer:
    """Set tags."""
    return _one(ctx, logged_models.tag_logged_model(ctx, request.model_id, dict(read_tags(request.tags))))


def delete_tag(ctx: Context, request: DeleteModelTag) -> Nothing:
    """Take a tag away."""
    logged_models.tag_logged_model(ctx, request.model_id, {request.tag_key: None})
    return Nothing()


def log_params(ctx: Context, request: LogModelParams) -> Nothing:
    """Add params."""
    try:
        logged_models.log_model_params(ctx, request.model_id, read_tags(request.params))
    except Conflict as exc:
        raise Invalid(exc.message) from exc
    return Nothing()


def search(ctx: Context, request: SearchLoggedModels) -> FoundLoggedModels:
    """Find logged models; without an order, the newest come first."""
    if any(not each.dataset_name for each in request.datasets):
        raise Invalid("`dataset_name` in the `datasets` clause must be specified.")
    limit = check_limit(request.max_results, 50_000)
    numbers = [experiment_number(text) for text in request.experiment_ids if text.isdigit()]
    models = logged_models.list_logged_models(ctx, numbers)
    measured = logged_models.read_model_metrics(ctx, [model.id for model in models])
    condition = parse_filter(request.filter, _LANGUAGE)

    def read(
        model: LoggedModel, entity: Entity, key: str, datasets: Sequence[DatasetFilter] = ()
    ) -> str | float | None:
        if entity is Entity.METRIC:
            return _metric(measured.get(model.id, ()), key, datasets or request.datasets)
        if entity is Entity.ATTRIBUTE:
            return _attribute(model, key)
        return (model.params if entity is Entity.PARAM else model.tags).get(key)

    found = [
        model
        for model in models
        if holds(condition, lambda entity, key, model=model: read(model, entity, key))  # type: ignore[misc]
        and (not request.datasets or any(_is_on(m, request.datasets) for m in measured.get(model.id, ())))
    ]
    for order in reversed(request.order_by):
        entity, key = _order_key(order.field_name)
        values = {model.id: read(model, entity, key, [order] if order.dataset_name else ()) for model in found}
        have = [model for model in found if values[model.id] is not None]
        have.sort(key=lambda model, values=values: values[model.id], reverse=not order.ascending)  # type: ignore[misc]
        found = have + [model for model in found if values[model.id] is None]
    page, token = slice_page(found, request.page_token, limit)
    return FoundLoggedModels(models=_messages(ctx, page), next_page_token=token)


def _order_key(name: str) -> tuple[Entity, str]:
    entity, dot, key = name.partition(".")
    if dot and entity in ("metrics", "metric"):
        return Entity.METRIC, key
    return Entity.ATTRIBUTE, _LANGUAGE.attribute(name.removeprefix("attributes."))


def _attribute(model: LoggedModel, key: str) -> str | float:
    values: dict[str, str | float] = {
        "name": model.name,
        "model_id": model.id,
        "model_type": model.model_type,
        "status": model.status.name,
        "source_run_id": model.run,
        "experiment_id": str(model.experiment),
        "artifact_location": model.artifact_location,
        "creation_timestamp": milliseconds(model.created_at),
        "last_updated_timestamp": milliseconds(model.updated_at),
    }
    return values[key]


def _metric(metrics: Sequence[ModelMetric], key: str, datasets: Sequence[DatasetFilter]) -> float | None:
    fitting = [m for m in metrics if m.key == key and (not datasets or _is_on(m, datasets))]
    return fitting[-1].value if fitting else None


def _is_on(metric: ModelMetric, datasets: Sequence[DatasetFilter]) -> bool:
    return any(
        metric.dataset_name == each.dataset_name and each.dataset_digest in ("", metric.dataset_digest)
        for each in datasets
    )


def _one(ctx: Context, model: LoggedModel) -> LoggedModelAnswer:
    return LoggedModelAnswer(model=_messages(ctx, [model])[0])


def _messages(ctx: Context, models: Sequence[LoggedModel]) -> list[LoggedModelMessage]:
    ids = [model.id for model in models]
    metrics, versions = logged_models.read_model_metrics(ctx, ids), logged_models.read_registrations(ctx, ids)
    return [_message(model, metrics.get(model.id, ()), versions.get(model.id, ())) for model in models]


def _message(
    model: LoggedModel, metrics: Sequence[ModelMetric], versions: Sequence[ModelVersion]
) -> LoggedModelMessage:
    return LoggedModelMessage(
        info=LoggedModelInfo(
            model_id=model.id,
            experiment_id=str(model.experiment),
            name=model.name,
            creation_timestamp_ms=milliseconds(model.created_at),
            last_updated_timestamp_ms=milliseconds(model.updated_at),
            artifact_uri=model.artifact_location,
            status=_STATUSES[model.status],
            model_type=model.model_type,
            source_run_id=model.run,
            tags=tags_of(model.tags),
            registrations=[Registration(name=each.model, version=str(each.number)) for each in versions],
        ),
        data=LoggedModelData(params=tags_of(model.params), metrics=[_measured(metric) for metric in metrics]),
    )


def _measured(metric: ModelMetric) -> MeasuredMetric:
    return MeasuredMetric(
        key=metric.key,
        value="NaN" if metric.value is None else number_text(metric.value),
        timestamp=milliseconds(metric.time),
        step=metric.step,
        model_id=metric.model,
        run_id=metric.run,
        dataset_name=metric.dataset_name or None,
        dataset_digest=metric.dataset_digest or None,
    )


def _at(name: str, method: str, path: str, request: Any, response: Any, handler: Any) -> Operation[Any, Any]:
    return Operation(
        name=f"mlflow.logged-models.{name}",
        method=method,
        path=f"/2.0/mlflow/logged-models{path}",
        request=request,
        response=response,
        handler=handler,
    )


OPERATIONS: tuple[Operation[Any, Any], ...] = (
    _at("create", "POST", "", CreateLoggedModel, LoggedModelAnswer, create),
    _at("search", "POST", "/search", SearchLoggedModels, FoundLoggedModels, search),
    _at("get", "GET", "/{model_id}", ModelId, LoggedModelAnswer, get),
    _at("finalize", "PATCH", "/{model_id}", FinalizeLoggedModel, LoggedModelAnswer, finalize),
    _at("delete", "DELETE", "/{model_id}", ModelId, Nothing, delete),
    _at("set-tags", "PATCH", "/{model_id}/tags", SetModelTags, LoggedModelAnswer, set_tags),
    _at("delete-tag", "DELETE", "/{model_id}/tags/{tag_key}", DeleteModelTag, Nothing, delete_tag),
    _at("log-params", "POST", "/{model_id}/params", LogModelParams, Nothing, log_params),
)
