"""Experiments, runs and what they record."""

from dataclasses import dataclass, field
from enum import StrEnum

__all__ = ["DEFAULT_EXPERIMENT", "DatasetInput", "Experiment", "Metric", "Run", "RunModel", "RunStatus", "StepRun"]

DEFAULT_EXPERIMENT = "Default"  # number 0, as MLflow's clients expect it


class RunStatus(StrEnum):
    """Where a run or a step run is."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCESSFUL = "successful"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """A named collection of runs. Its number never changes, its name may; a deleted one keeps its name until it is purged."""

    number: int
    name: str
    created_at: float
    updated_at: float
    description: str = ""
    artifact_location: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    runs: int = 0  # ever begun in it
    deleted_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One execution that is tracked: a pipeline's, a script's, or a program's that logs by the SDK or by MLflow.

    Times are seconds since the epoch (UTC). `metrics` holds the last value of each key, which is the one of the highest
    (step, time, value), and `measured` its step and time. `datasets` are dataset version ids (`flights@3`); `code` and
    `environment` are digests.
    """

    id: str
    experiment: str
    experiment_number: int = 0
    name: str
    status: RunStatus
    started_at: float
    ended_at: float | None = None
    actor: str = ""
    params: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    measured: dict[str, tuple[int, float]] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    datasets: tuple[str, ...] = ()
    code: str = ""
    commit: str = ""
    environment: str = ""
    error: str = ""
    artifact_location: str = ""
    deleted_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One point of a metric's history; `Run.metrics` holds the last value of each key. NaN and infinities are values too."""

    run: str
    key: str
    step: int
    time: float
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetInput:
    """A dataset that a run says it has read, as the program that logged it describes it."""

    run: str
    name: str
    digest: str
    source_type: str = ""
    source: str = ""
    schema: str = ""
    profile: str = ""
    context: str = ""  # such as training; one of the tags, kept apart because it is searched for
    tags: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunModel:
    """A logged model that a run has read (`role` input) or made (output)."""

    run: str
    model: str
    role: str
    step: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRun:
    """One pipeline step within a run; `cached` when the step cache answered and nothing ran."""

    run: str
    step: str
    position: int
    status: RunStatus
    cache_key: str
    cached: bool = False
    started_at: float
    ended_at: float | None = None
    exit_code: int | None = None
    log: str = ""
    outs: dict[str, str] = field(default_factory=dict)
