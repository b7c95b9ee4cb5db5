"""Logged models: what a run has made and stored, registered or not; and stored artifacts."""

from dataclasses import dataclass, field
from enum import StrEnum

__all__ = ["Artifact", "LoggedModel", "LoggedModelStatus", "ModelMetric"]


class LoggedModelStatus(StrEnum):
    """Whether a logged model's files are there."""

    UNSPECIFIED = "unspecified"
    PENDING = "pending"
    READY = "ready"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedModel:
    """A model that a program has logged, with its files at `artifact_location`."""

    id: str
    experiment: int
    name: str
    created_at: float
    updated_at: float
    artifact_location: str
    status: LoggedModelStatus = LoggedModelStatus.PENDING
    model_type: str = ""
    run: str = ""
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    deleted_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelMetric:
    """A metric of a logged model, maybe on a dataset; it is also a point of the run that logged it. None is NaN."""

    model: str
    key: str
    dataset_name: str
    dataset_digest: str
    value: float | None
    step: int
    time: float
    run: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A stored file: where it stands, and the content it has now. `folder` has no slash at either end."""

    folder: str
    name: str
    digest: str
    size_bytes: int
    written_at: float

    @property
    def path(self) -> str:
        """Folder and name."""
        return f"{self.folder}/{self.name}" if self.folder else self.name
