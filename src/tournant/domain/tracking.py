"""Experiments, runs and what they record."""

from dataclasses import dataclass, field
from enum import StrEnum

__all__ = ["Experiment", "Metric", "Run", "RunStatus", "StepRun"]


class RunStatus(StrEnum):
    """Where a run or a step run is."""

    RUNNING = "running"
    SUCCESSFUL = "successful"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """A named collection of runs."""

    name: str
    created_at: float
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One execution that is tracked: a pipeline's, or a script's that logs by the SDK.

    Times are seconds since the epoch (UTC). `datasets` are dataset version ids (`flights@3`); `code` and `environment`
    are digests.
    """

    id: str
    experiment: str
    name: str
    status: RunStatus
    started_at: float
    ended_at: float | None = None
    actor: str = ""
    params: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    datasets: tuple[str, ...] = ()
    code: str = ""
    commit: str = ""
    environment: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One point of a metric's history; `Run.metrics` holds the last value of each key."""

    run: str
    key: str
    step: int
    time: float
    value: float


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
