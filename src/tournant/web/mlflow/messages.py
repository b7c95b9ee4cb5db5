"""Runs, experiments and files as MLflow's clients read them: times in milliseconds, numbers that JSON lacks as texts."""

import math
from collections.abc import Iterable, Mapping

from tournant.domain.run_query import STATUS_NAMES
from tournant.domain.tracking import DatasetInput, Experiment, Metric, Run, RunModel, RunStatus
from tournant.errors import Invalid
from tournant.web.mlflow.requests import Int, Message

__all__ = [
    "RUN_NAME",
    "DatasetInputMessage",
    "DatasetMessage",
    "ExperimentMessage",
    "MetricMessage",
    "ModelInputMessage",
    "ModelOutputMessage",
    "Number",
    "RunInfoMessage",
    "RunMessage",
    "Tag",
    "experiment_message",
    "milliseconds",
    "number_text",
    "read_status",
    "read_tags",
    "run_info",
    "run_message",
    "seconds",
    "tags_of",
]

RUN_NAME = "mlflow.runName"  # a tag there, an attribute here
CONTEXT = "mlflow.data.context"
_LOWEST, _HIGHEST = float("-inf"), float("inf")
Number = float | str
_STATUSES = {name: status for status, name in STATUS_NAMES.items()}
_NUMBERED = dict(enumerate(("RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED"), start=1))


class Tag(Message, frozen=True, kw_only=True, gc=False):
    """A key and its value: a tag or a param."""

    key: str
    value: str = ""


class TagOut(Message, frozen=True, kw_only=True, gc=False):
    """A tag or a param in an answer."""

    key: str
    value: str


class MetricMessage(Message, frozen=True, kw_only=True, gc=False):
    """A point of a metric in an answer."""

    key: str
    value: Number
    timestamp: int
    step: int
    run_id: str | None = None


class ExperimentMessage(Message, frozen=True, kw_only=True):
    """An experiment."""

    experiment_id: str
    name: str
    artifact_location: str
    lifecycle_stage: str
    last_update_time: int
    creation_time: int
    tags: list[TagOut] = []


class RunInfoMessage(Message, frozen=True, kw_only=True):
    """What a run is."""

    run_id: str
    run_uuid: str
    run_name: str
    experiment_id: str
    user_id: str
    status: str
    start_time: int
    artifact_uri: str
    lifecycle_stage: str
    end_time: int | None = None


class RunDataMessage(Message, frozen=True, kw_only=True):
    """What a run recorded."""

    metrics: list[MetricMessage] = []
    params: list[TagOut] = []
    tags: list[TagOut] = []


class DatasetMessage(Message, frozen=True, kw_only=True):
    """A dataset, as the program that logged it describes it."""

    name: str
    digest: str
    source_type: str = ""
    source: str = ""
    schema: str = ""
    profile: str = ""


class DatasetInputMessage(Message, frozen=True, kw_only=True):
    """A dataset that a run has read, and what for."""

    dataset: DatasetMessage
    tags: list[Tag] = []


class ModelInputMessage(Message, frozen=True, kw_only=True):
    """A logged model that a run has read."""

    model_id: str


class ModelOutputMessage(Message, frozen=True, kw_only=True):
    """A logged model that a run has made."""

    model_id: str
    step: Int = 0


class RunInputsMessage(Message, frozen=True, kw_only=True):
    """What a run has read."""

    dataset_inputs: list[DatasetInputMessage] = []
    model_inputs: list[ModelInputMessage] = []


class RunOutputsMessage(Message, frozen=True, kw_only=True):
    """What a run has made."""

    model_outputs: list[ModelOutputMessage] = []


class RunMessage(Message, frozen=True, kw_only=True):
    """A run."""

    info: RunInfoMessage
    data: RunDataMessage
    inputs: RunInputsMessage
    outputs: RunOutputsMessage


def seconds(milliseconds: int) -> float:
    """Give the seconds of MLflow's milliseconds."""
    return milliseconds / 1000


def milliseconds(seconds: float) -> int:
    """Give MLflow's milliseconds.

    >>> milliseconds(seconds(1732500000123))
    1732500000123
    """
    return round(1000 * seconds)


def number_text(value: float) -> Number:
    """Write a number as protobuf's JSON does.

    >>> number_text(0.5), number_text(float("nan")), number_text(float("-inf"))
    (0.5, 'NaN', '-Infinity')
    """
    if _LOWEST < value < _HIGHEST:
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def read_tags(tags: Iterable[Tag]) -> dict[str, str]:
    """Give tags or params by key; the last of a key counts."""
    return {tag.key: tag.value for tag in tags}


def tags_of(tags: Mapping[str, str]) -> list[TagOut]:
    """Write tags or params."""
    return [TagOut(key=key, value=value) for key, value in tags.items()]


def read_status(status: str | int) -> RunStatus:
    """Give the status that MLflow calls so, by name or by number."""
    name = _NUMBERED.get(status, "") if isinstance(status, int) else status
    if name not in _STATUSES:
        raise Invalid(f"Invalid value {status!r} for parameter 'status' supplied: it is one of {', '.join(_STATUSES)}")
    return _STATUSES[name]


def experiment_message(experiment: Experiment) -> ExperimentMessage:
    """Write an experiment."""
    return ExperimentMessage(
        experiment_id=str(experiment.number),
        name=experiment.name,
        artifact_location=experiment.artifact_location,
        lifecycle_stage="active" if experiment.deleted_at is None else "deleted",
        last_update_time=milliseconds(experiment.updated_at),
        creation_time=milliseconds(experiment.created_at),
        tags=tags_of(experiment.tags),
    )


def metric_message(metric: Metric, *, run: bool = False) -> MetricMessage:
    """Write a point, with the run's id where several runs' points come together."""
    return MetricMessage(
        key=metric.key,
        value=number_text(metric.value),
        timestamp=milliseconds(metric.time),
        step=metric.step,
        run_id=metric.run if run else None,
    )


def run_info(run: Run) -> RunInfoMessage:
    """Write what a run is."""
    return RunInfoMessage(
        run_id=run.id,
        run_uuid=run.id,
        run_name=run.name,
        experiment_id=str(run.experiment_number),
        user_id=run.actor,
        status=STATUS_NAMES[run.status],
        start_time=milliseconds(run.started_at),
        end_time=None if run.ended_at is None else milliseconds(run.ended_at),
        artifact_uri=run.artifact_location,
        lifecycle_stage="active" if run.deleted_at is None else "deleted",
    )


def run_message(run: Run, datasets: Iterable[DatasetInput] = (), models: Iterable[RunModel] = ()) -> RunMessage:
    """Write a run with what it recorded."""
    models = list(models)
    measured = run.measured
    return RunMessage(
        info=run_info(run),
        data=RunDataMessage(
            metrics=[
                MetricMessage(
                    key=key, value=number_text(value), timestamp=milliseconds(measured[key][1]), step=measured[key][0]
                )
                for key, value in run.metrics.items()
            ],
            params=tags_of(run.params),
            tags=[*tags_of(run.tags), TagOut(key=RUN_NAME, value=run.name)],
        ),
        inputs=RunInputsMessage(
            dataset_inputs=[_dataset_input(dataset) for dataset in datasets],
            model_inputs=[ModelInputMessage(model_id=each.model) for each in models if each.role == "input"],
        ),
        outputs=RunOutputsMessage(
            model_outputs=[
                ModelOutputMessage(model_id=each.model, step=each.step) for each in models if each.role == "output"
            ]
        ),
    )


def _dataset_input(given: DatasetInput) -> DatasetInputMessage:
    tags = {CONTEXT: given.context, **given.tags} if given.context else given.tags
    return DatasetInputMessage(
        dataset=DatasetMessage(
            name=given.name,
            digest=given.digest,
            source_type=given.source_type,
            source=given.source,
            schema=given.schema,
            profile=given.profile,
        ),
        tags=[Tag(key=key, value=value) for key, value in tags.items()],
    )
