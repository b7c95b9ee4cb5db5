"""What an MLflow store holds, as an import reads it: a tracking server, an `mlruns` folder or MLflow's own database.

Times are seconds since the epoch. An iterator gives an `Unreadable` in the place of what could not be read, and goes on.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import BinaryIO, Protocol

from tournant.domain.logged_models import LoggedModelStatus, ModelMetric
from tournant.domain.tracking import DatasetInput, Metric, RunModel, RunStatus

__all__ = [
    "MlflowFiles",
    "MlflowSource",
    "Place",
    "SourceExperiment",
    "SourceFile",
    "SourceLoggedModel",
    "SourceModel",
    "SourceRun",
    "SourceVersion",
    "Unreadable",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """What a store has and an import cannot bring: what it is, which, and why."""

    noun: str
    name: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where files are: an address, and whose they are (a server is asked for them by that)."""

    uri: str
    run: str = ""
    logged_model: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    """A file at a place, by its path there."""

    path: str
    size_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceExperiment:
    """An experiment; `id` means something to its store only."""

    id: str
    name: str
    created_at: float | None = None
    updated_at: float | None = None
    deleted: bool = False
    tags: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRun:
    """A run. `measured` changes when a metric gets another point: last step, time and value, or the size of a file."""

    id: str
    name: str
    status: RunStatus
    place: Place
    experiment: str = ""  # its id, where the store needs it to find the run again
    started_at: float | None = None
    ended_at: float | None = None
    deleted: bool = False
    deleted_at: float | None = None
    actor: str = ""
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    measured: dict[str, tuple[float, ...]] = field(default_factory=dict)
    datasets: tuple[DatasetInput, ...] = ()
    models: tuple[RunModel, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceLoggedModel:
    """A logged model with the last value of each of its metrics."""

    id: str
    name: str
    status: LoggedModelStatus
    place: Place
    created_at: float
    updated_at: float
    model_type: str = ""
    run: str = ""
    deleted: bool = False
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    metrics: tuple[ModelMetric, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceVersion:
    """A version of a registered model; `place` is where its files are said to be."""

    number: int
    place: Place
    created_at: float
    updated_at: float
    source: str = ""
    description: str = ""
    stage: str = "None"
    run: str = ""
    run_link: str = ""
    logged_model: str = ""
    actor: str = ""
    tags: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceModel:
    """A registered model; `last_number` counts deleted versions too, as far as the store knows of them."""

    name: str
    created_at: float
    updated_at: float
    description: str = ""
    last_number: int = 0
    tags: dict[str, str] = field(default_factory=dict)
    aliases: dict[str, int] = field(default_factory=dict)
    versions: tuple[SourceVersion, ...] = ()


class MlflowFiles(Protocol):
    """The files of a store."""

    def list(self, place: Place) -> list[SourceFile]:
        """List all files at a place; NotFound, Denied, Invalid or Unavailable, with the reason, when it cannot be reached."""
        ...

    def open(self, place: Place, path: str) -> AbstractContextManager[BinaryIO]:
        """Open a file for reading (which is all that it can do), block by block."""
        ...


class MlflowSource(Protocol):
    """A store of MLflow's, read and never written."""

    @property
    def address(self) -> str:
        """What the store is called, without credentials."""
        ...

    @property
    def files(self) -> MlflowFiles:
        """The store's files."""
        ...

    def experiments(self) -> Iterator[SourceExperiment | Unreadable]:
        """Give all experiments, the deleted ones last."""
        ...

    def runs(self, experiment: str) -> Iterator[SourceRun | Unreadable]:
        """Give an experiment's runs, deleted ones too."""
        ...

    def complete(self, run: SourceRun) -> SourceRun:
        """Add what a listing does not tell of a run."""
        ...

    def points(self, run: SourceRun) -> Iterator[Sequence[Metric] | Unreadable]:
        """Give every point of every metric of a run, some thousands at a time."""
        ...

    def logged_models(self, experiment: str) -> Iterator[SourceLoggedModel | Unreadable]:
        """Give an experiment's logged models, deleted ones too where the store tells of them."""
        ...

    def models(self) -> Iterator[SourceModel | Unreadable]:
        """Give the registered models."""
        ...
