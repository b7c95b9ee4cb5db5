"""The environments of what was not locked by us: the requirements that MLflow keeps beside a model."""

from collections.abc import Sequence

from tournant.domain.environment import Environment
from tournant.domain.logged_models import Artifact, LoggedModel
from tournant.domain.tracking import Run
from tournant.errors import TournantError
from tournant.ports import BlobStore, UnitOfWork
from tournant.services.artifacts import artifact_path

__all__ = ["find_environment_of", "requirements_at", "requirements_of"]

REQUIREMENTS = "requirements.txt"
LARGEST_BYTES = 100_000


def requirements_of(uow: UnitOfWork, runs: Sequence[Run]) -> dict[str, str]:
    """Give, by run, the digest of the requirements of the newest model that each run has logged, where it has one."""
    found: dict[str, str] = {}
    if not runs:
        return found
    ids = [run.id for run in runs]
    for model in uow.find(LoggedModel, run__in=ids, deleted_at=None, order="created_at,id"):
        digest = requirements_at(uow, model.artifact_location)
        if digest:
            found[model.run] = digest
    for run in runs:  # clients before MLflow 3 log a model as an artifact of its run
        root = artifact_path(run.artifact_location) if run.id not in found else ""
        inside = {"folder__gt": f"{root}/", "folder__lt": f"{root}/\U0010ffff"}
        files = uow.find(Artifact, name=REQUIREMENTS, order="folder", limit=1, **inside) if root else []
        if files:
            found[run.id] = files[0].digest
    return found


def requirements_at(uow: UnitOfWork, location: str) -> str:
    """Give the digest of the requirements among the artifacts at a location; empty without."""
    root = artifact_path(location)
    found = uow.get(Artifact, root, REQUIREMENTS) if root else None
    return found.digest if found else ""


def find_environment_of(uow: UnitOfWork, blobs: BlobStore, digest: str) -> Environment | None:
    """Give a locked environment, or what requirements of that digest say, which name no Python."""
    environment = uow.get(Environment, digest)
    if environment:
        return environment
    try:
        with blobs.open(digest) as content:
            lock = content.read(LARGEST_BYTES).decode(errors="replace")
    except TournantError:
        return None
    return Environment(digest=digest, python="", lock=lock)
