"""MLflow's endpoints of experiments."""

from typing import Any

from tournant.api.operation import Operation
from tournant.domain.filters import Language, holds, parse_filter, parse_order
from tournant.domain.run_query import Entity, Ordering
from tournant.domain.tracking import Experiment
from tournant.errors import Invalid, NotFound
from tournant.services import experiments
from tournant.services.context import Context
from tournant.web.mlflow.messages import ExperimentMessage, Tag, experiment_message, milliseconds, read_tags
from tournant.web.mlflow.paging import slice_page
from tournant.web.mlflow.requests import Int, Message

__all__ = ["OPERATIONS", "experiment_number", "shows"]

MOST_RESULTS = 50_000
_LANGUAGE = Language(
    noun="experiments",
    entities=(Entity.ATTRIBUTE, Entity.TAG),
    numbers=("creation_time", "last_update_time"),
    texts=("name", "experiment_id"),
)
_VIEWS = {"ACTIVE_ONLY": (True, False), "DELETED_ONLY": (False, True), "ALL": (True, True)}
_NUMBERED_VIEWS = dict(enumerate(_VIEWS, start=1))


class Nothing(Message, frozen=True, kw_only=True):
    """An answer that says only that it is done."""


class CreateExperiment(Message, frozen=True, kw_only=True):
    """A new experiment."""

    name: str
    artifact_location: str = ""
    tags: list[Tag] = []


class ExperimentId(Message, frozen=True, kw_only=True):
    """Which experiment, by number."""

    experiment_id: str


class ExperimentName(Message, frozen=True, kw_only=True):
    """Which experiment, by name."""

    experiment_name: str


class ExperimentAnswer(Message, frozen=True, kw_only=True):
    """One experiment."""

    experiment: ExperimentMessage


class RenameExperiment(Message, frozen=True, kw_only=True):
    """An experiment's new name."""

    experiment_id: str
    new_name: str


class ExperimentTag(Message, frozen=True, kw_only=True):
    """An experiment's tag."""

    experiment_id: str
    key: str
    value: str = ""


class SearchExperiments(Message, frozen=True, kw_only=True):
    """Which experiments, in which order."""

    max_results: Int = 1000
    page_token: str = ""
    filter: str = ""
    order_by: list[str] = []
    view_type: str | int = "ACTIVE_ONLY"


class FoundExperiments(Message, frozen=True, kw_only=True):
    """A page of experiments."""

    experiments: list[ExperimentMessage] = []
    next_page_token: str | None = None


def experiment_number(text: str) -> int:
    """Read an experiment's id."""
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise NotFound(f"No Experiment with id={text[:100]} exists")
    return int(text)


def shows(view: str | int) -> tuple[bool, bool]:
    """Tell whether a view shows active things, and deleted ones."""
    name = _NUMBERED_VIEWS.get(view, "") if isinstance(view, int) else view
    if name not in _VIEWS:
        raise Invalid(f"Invalid view type {view!r}: it is one of {', '.join(_VIEWS)}")
    return _VIEWS[name]


def check_limit(limit: int, most: int = MOST_RESULTS) -> int:
    """Give the number of results asked for, if it is in bounds."""
    if not 1 <= limit <= most:
        raise Invalid(f"Invalid value for parameter 'max_results': it is between 1 and {most}, not {limit}")
    return limit


def create(ctx: Context, request: CreateExperiment) -> ExperimentId:
    """Begin an experiment."""
    made = experiments.create_experiment(
        ctx, request.name, artifact_location=request.artifact_location, tags=read_tags(request.tags)
    )
    return ExperimentId(experiment_id=str(made.number))


def get(ctx: Context, request: ExperimentId) -> ExperimentAnswer:
    """Show an experiment."""
    found = experiments.get_experiment(ctx, experiment_number(request.experiment_id))
    return ExperimentAnswer(experiment=experiment_message(found))


def get_by_name(ctx: Context, request: ExperimentName) -> ExperimentAnswer:
    """Show the experiment of a name."""
    found = experiments.find_experiment(ctx, request.experiment_name)
    if found is None:
        raise NotFound(f"Could not find experiment with name '{request.experiment_name}'")
    return ExperimentAnswer(experiment=experiment_message(found))


def search(ctx: Context, request: SearchExperiments) -> FoundExperiments:
    """Find experiments; without an order, those changed last come first."""
    limit = check_limit(request.max_results)
    active, deleted = shows(request.view_type)
    condition = parse_filter(request.filter, _LANGUAGE)
    found = [
        each
        for each in experiments.list_experiments(ctx)
        if (active if each.deleted_at is None else deleted)
        and holds(condition, lambda entity, key, each=each: _read(each, entity, key))  # type: ignore[misc]
    ]
    default = Ordering(entity=Entity.ATTRIBUTE, key="last_update_time", descending=True)
    for order in reversed([parse_order(text, _LANGUAGE) for text in request.order_by] or [default]):
        if order.entity is not Entity.ATTRIBUTE:
            raise Invalid("Invalid order_by entity: experiments are ordered by attributes", place="order_by")
        found.sort(key=lambda each, order=order: _sortable(each, order.key), reverse=order.descending)  # type: ignore[misc]
    page, token = slice_page(found, request.page_token, limit)
    return FoundExperiments(experiments=[experiment_message(each) for each in page], next_page_token=token)


def _read(experiment: Experiment, entity: Entity, key: str) -> str | float | None:
    if entity is Entity.TAG:
        return experiment.tags.get(key)
    texts = {"name": experiment.name, "experiment_id": str(experiment.number)}
    return texts[key] if key in texts else _sortable(experiment, key)


def _sortable(experiment: Experiment, key: str) -> Any:
    values = {
        "name": experiment.name,
        "experiment_id": experiment.number,
        "creation_time": milliseconds(experiment.created_at),
        "last_update_time": milliseconds(experiment.updated_at),
    }
    return values[key]


def rename(ctx: Context, request: RenameExperiment) -> Nothing:
    """Give an experiment another name."""
    experiments.rename_experiment(ctx, experiment_number(request.experiment_id), request.new_name)
    return Nothing()


def delete(ctx: Context, request: ExperimentId) -> Nothing:
    """Delete an experiment with its runs."""
    experiments.delete_experiment(ctx, experiment_number(request.experiment_id))
    return Nothing()


def restore(ctx: Context, request: ExperimentId) -> Nothing:
    """Restore an experiment with its runs."""
    experiments.restore_experiment(ctx, experiment_number(request.experiment_id))
    return Nothing()


def set_tag(ctx: Context, request: ExperimentTag) -> Nothing:
    """Set a tag of an experiment."""
    experiments.tag_experiment(ctx, experiment_number(request.experiment_id), {request.key: request.value})
    return Nothing()


def delete_tag(ctx: Context, request: ExperimentTag) -> Nothing:
    """Take a tag away from an experiment."""
    experiments.tag_experiment(ctx, experiment_number(request.experiment_id), {request.key: None})
    return Nothing()


def _at(name: str, method: str, request: Any, response: Any, handler: Any) -> Operation[Any, Any]:
    path = f"/2.0/mlflow/experiments/{name}"
    title = f"mlflow.experiments.{name}" + (".query" if (name, method) == ("search", "GET") else "")
    return Operation(name=title, method=method, path=path, request=request, response=response, handler=handler)


OPERATIONS: tuple[Operation[Any, Any], ...] = (
    _at("create", "POST", CreateExperiment, ExperimentId, create),
    _at("get", "GET", ExperimentId, ExperimentAnswer, get),
    _at("get-by-name", "GET", ExperimentName, ExperimentAnswer, get_by_name),
    _at("search", "POST", SearchExperiments, FoundExperiments, search),
    _at("search", "GET", SearchExperiments, FoundExperiments, search),
    _at("update", "POST", RenameExperiment, Nothing, rename),
    _at("delete", "POST", ExperimentId, Nothing, delete),
    _at("restore", "POST", ExperimentId, Nothing, restore),
    _at("set-experiment-tag", "POST", ExperimentTag, Nothing, set_tag),
    _at("delete-experiment-tag", "POST", ExperimentTag, Nothing, delete_tag),
)
