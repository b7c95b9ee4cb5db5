"""Reads what a tracking server answers; times are milliseconds, and long numbers may come as texts."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tournant.adapters.mlflow.values import (
    RUN_NAME,
    logged_model_in,
    number,
    read_dataset,
    read_logged_model_status,
    read_status,
    seconds,
    text,
)
from tournant.domain.logged_models import ModelMetric
from tournant.domain.tracking import DatasetInput, Metric, RunModel
from tournant.ports import (
    Place,
    SourceExperiment,
    SourceLoggedModel,
    SourceModel,
    SourceRun,
    SourceVersion,
)

__all__ = ["read_experiment", "read_logged_model", "read_model", "read_point", "read_run", "read_version"]

Answer = Mapping[str, Any]


def _texts(given: Iterable[Answer]) -> dict[str, str]:
    return {pair["key"]: text(pair.get("value")) for pair in given}


def read_experiment(given: Answer) -> SourceExperiment:
    """Read an experiment."""
    return SourceExperiment(
        id=given["experiment_id"],
        name=given["name"],
        created_at=seconds(given.get("creation_time")),
        updated_at=seconds(given.get("last_update_time")),
        deleted=given.get("lifecycle_stage") == "deleted",
        tags=_texts(given.get("tags", ())),
    )


def read_run(given: Answer) -> SourceRun:
    """Read a run."""
    info, data = given["info"], given.get("data", {})
    run = info.get("run_id") or info["run_uuid"]
    tags = _texts(data.get("tags", ()))
    name = info.get("run_name") or tags.get(RUN_NAME, "")
    tags.pop(RUN_NAME, None)
    inputs, outputs = given.get("inputs", {}), given.get("outputs", {})
    models = [RunModel(run=run, model=each["model_id"], role="input") for each in inputs.get("model_inputs", ())]
    models += [
        RunModel(run=run, model=each["model_id"], role="output", step=int(each.get("step", 0)))
        for each in outputs.get("model_outputs", ())
    ]
    return SourceRun(
        id=run,
        name=name,
        status=read_status(info.get("status")),
        place=Place(uri=text(info.get("artifact_uri")), run=run),
        started_at=seconds(info.get("start_time")),
        ended_at=seconds(info.get("end_time")),
        deleted=info.get("lifecycle_stage") == "deleted",
        actor=text(info.get("user_id")),
        params=_texts(data.get("params", ())),
        tags=tags,
        measured={
            metric["key"]: (float(metric.get("step", 0)), float(metric["timestamp"]), number(metric["value"]))
            for metric in data.get("metrics", ())
        },
        datasets=tuple(_dataset(run, each) for each in inputs.get("dataset_inputs", ())),
        models=tuple(models),
    )


def _dataset(run: str, given: Answer) -> DatasetInput:
    dataset, tags = given["dataset"], _texts(given.get("tags", ()))
    return read_dataset(run, dataset, tags)


def read_point(run: str, given: Answer) -> Metric:
    """Read a point of a metric."""
    return Metric(
        run=run,
        key=given["key"],
        step=int(given.get("step", 0)),
        time=int(given["timestamp"]) / 1000,
        value=number(given["value"]),
    )


def read_logged_model(given: Answer) -> SourceLoggedModel:
    """Read a logged model."""
    info, data = given["info"], given.get("data", {})
    created = seconds(info.get("creation_timestamp_ms")) or 0.0
    return SourceLoggedModel(
        id=info["model_id"],
        name=text(info.get("name")),
        status=read_logged_model_status(info.get("status")),
        place=Place(uri=text(info.get("artifact_uri")), logged_model=info["model_id"]),
        created_at=created,
        updated_at=seconds(info.get("last_updated_timestamp_ms")) or created,
        model_type=text(info.get("model_type")),
        run=text(info.get("source_run_id")),
        params=_texts(data.get("params", ())),
        tags=_texts(info.get("tags", ())),
        metrics=tuple(_model_metric(info["model_id"], each) for each in data.get("metrics", ())),
    )


def _model_metric(model: str, given: Answer) -> ModelMetric:
    value = number(given["value"])
    return ModelMetric(
        model=model,
        key=given["key"],
        dataset_name=text(given.get("dataset_name")),
        dataset_digest=text(given.get("dataset_digest")),
        value=None if value != value else value,
        step=int(given.get("step", 0)),
        time=int(given["timestamp"]) / 1000,
        run=text(given.get("run_id")),
    )


def read_model(given: Answer, versions: Sequence[SourceVersion]) -> SourceModel:
    """Read a registered model; its versions were asked for apart."""
    created = seconds(given.get("creation_timestamp")) or 0.0
    return SourceModel(
        name=given["name"],
        created_at=created,
        updated_at=seconds(given.get("last_updated_timestamp")) or created,
        description=text(given.get("description")),
        last_number=max((version.number for version in versions), default=0),
        tags=_texts(given.get("tags", ())),
        aliases={each["alias"]: int(each["version"]) for each in given.get("aliases", ())},
        versions=tuple(sorted(versions, key=lambda version: version.number)),
    )


def read_version(given: Answer) -> SourceVersion:
    """Read a model version."""
    created = seconds(given.get("creation_timestamp")) or 0.0
    source = text(given.get("source"))
    logged = text(given.get("model_id")) or logged_model_in(source)
    return SourceVersion(
        number=int(given["version"]),
        place=Place(uri=source, logged_model=logged if source.startswith("models:/") else ""),
        created_at=created,
        updated_at=seconds(given.get("last_updated_timestamp")) or created,
        source=source,
        description=text(given.get("description")),
        stage=text(given.get("current_stage")) or "None",
        run=text(given.get("run_id")),
        run_link=text(given.get("run_link")),
        logged_model=logged,
        actor=text(given.get("user_id")),
        tags=_texts(given.get("tags", ())),
    )
