"""Logged models: made by a run, stored with its experiment, maybe registered later."""

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from tournant.domain.logged_models import LoggedModel, LoggedModelStatus, ModelMetric
from tournant.domain.registry import ModelVersion
from tournant.domain.tracking import Experiment
from tournant.errors import Conflict, Invalid, NotFound
from tournant.ports import UnitOfWork
from tournant.services.context import Context
from tournant.services.texts import check_key, check_texts

__all__ = [
    "create_logged_model",
    "delete_logged_model",
    "finalize_logged_model",
    "get_logged_model",
    "list_logged_models",
    "log_model_metrics",
    "log_model_params",
    "read_model_metrics",
    "read_registrations",
    "tag_logged_model",
]


def create_logged_model(
    ctx: Context,
    experiment: int,
    *,
    name: str = "",
    model_type: str = "",
    run: str = "",
    params: Mapping[str, str] | None = None,
    tags: Mapping[str, str] | None = None,
) -> LoggedModel:
    """Begin a logged model; it is pending until its files are there."""
    model_id = f"m-{uuid.uuid4().hex}"
    name = name or f"model-{model_id[2:9]}"
    check_key(name, "logged model", longest=500)
    check_texts(params or {}, "param")
    check_texts(tags or {}, "tag")
    now = ctx.clock.now()
    with ctx.transactions.begin() as uow:
        place = uow.get(Experiment, experiment)
        if place is None:
            raise NotFound(f"No Experiment with id={experiment} exists")
        if place.deleted_at is not None:
            raise Invalid(f"The experiment {experiment} must be in the 'active' state. Current state is deleted.")
        model = LoggedModel(
            id=model_id,
            experiment=experiment,
            name=name,
            created_at=now,
            updated_at=now,
            artifact_location=f"{place.artifact_location}/models/{model_id}/artifacts",
            model_type=model_type,
            run=run,
            params=dict(params or {}),
            tags=dict(tags or {}),
        )
        uow.add(model)
        uow.record(ctx.event("logged_model.created", f"logged_model/{model_id}", f"{name} logged", run=run))
    return model


def get_logged_model(ctx: Context, model_id: str) -> LoggedModel:
    """Read a logged model that is not deleted."""
    with ctx.transactions.begin(write=False) as uow:
        return _required(uow, model_id)


def list_logged_models(ctx: Context, experiments: Sequence[int]) -> list[LoggedModel]:
    """List the logged models of experiments, newest first."""
    with ctx.transactions.begin(write=False) as uow:
        found = uow.find(LoggedModel, experiment__in=experiments, order="-created_at,id")
    return [model for model in found if model.deleted_at is None]


def finalize_logged_model(ctx: Context, model_id: str, status: LoggedModelStatus) -> LoggedModel:
    """Say that a logged model's files are there, or will not come."""
    return _change(ctx, model_id, lambda model: replace(model, status=status))


def tag_logged_model(ctx: Context, model_id: str, tags: Mapping[str, str | None]) -> LoggedModel:
    """Set tags; None takes one away, and NotFound when it is not there."""
    check_texts({key: value or "" for key, value in tags.items()}, "tag")

    def change(model: LoggedModel) -> LoggedModel:
        for key, value in tags.items():
            if value is None and key not in model.tags:
                raise NotFound(f"No tag with key {key!r} found for model with ID {model_id!r}.")
        merged = {key: value for key, value in {**model.tags, **tags}.items() if value is not None}
        return replace(model, tags=merged)

    return _change(ctx, model_id, change)


def log_model_params(ctx: Context, model_id: str, params: Mapping[str, str]) -> LoggedModel:
    """Add params; Conflict when one has another value already."""
    check_texts(params, "param")

    def change(model: LoggedModel) -> LoggedModel:
        for key, value in params.items():
            if model.params.get(key, value) != value:
                raise Conflict(f"param {key!r} of logged model {model_id} is {model.params[key]!r} already")
        return replace(model, params={**model.params, **params})

    return _change(ctx, model_id, change)


def delete_logged_model(ctx: Context, model_id: str) -> None:
    """Delete a logged model; its files go with the next purge."""
    now = ctx.clock.now()
    _change(ctx, model_id, lambda model: replace(model, deleted_at=now))


def log_model_metrics(ctx: Context, run: str, metrics: Sequence[ModelMetric]) -> None:
    """Keep the last value of each of a logged model's metrics; those of a model that is not there are left out."""
    last: dict[tuple[str, str, str, str], ModelMetric] = {}
    for metric in metrics:
        key = (metric.model, metric.key, metric.dataset_name, metric.dataset_digest)
        if key not in last or (metric.step, metric.time) >= (last[key].step, last[key].time):
            last[key] = replace(metric, run=run)
    with ctx.transactions.begin() as uow:
        known = {model.id for model in uow.find(LoggedModel, id__in=list({metric.model for metric in metrics}))}
        uow.save(*(metric for metric in last.values() if metric.model in known))


def read_model_metrics(ctx: Context, model_ids: Sequence[str]) -> dict[str, list[ModelMetric]]:
    """Read logged models' metrics, by model."""
    found: dict[str, list[ModelMetric]] = {}
    if model_ids:
        with ctx.transactions.begin(write=False) as uow:
            for metric in uow.find(ModelMetric, model__in=model_ids, order="model,key,dataset_name"):
                found.setdefault(metric.model, []).append(metric)
    return found


def read_registrations(ctx: Context, model_ids: Sequence[str]) -> dict[str, list[ModelVersion]]:
    """Read the model versions that logged models were registered as, by model."""
    found: dict[str, list[ModelVersion]] = {}
    if model_ids:
        with ctx.transactions.begin(write=False) as uow:
            for version in uow.find(ModelVersion, logged_model__in=model_ids, order="model,number"):
                found.setdefault(version.logged_model, []).append(version)
    return found


def _change(ctx: Context, model_id: str, change: Callable[[LoggedModel], LoggedModel]) -> LoggedModel:
    with ctx.transactions.begin() as uow:
        changed = replace(change(_required(uow, model_id, lock=True)), updated_at=ctx.clock.now())
        uow.save(changed)
    return changed


def _required(uow: UnitOfWork, model_id: str, *, lock: bool = False) -> LoggedModel:
    found = uow.get(LoggedModel, model_id, lock=lock)
    if found is None or found.deleted_at is not None:
        raise NotFound(f"Logged model with ID '{model_id}' not found.")
    return found
