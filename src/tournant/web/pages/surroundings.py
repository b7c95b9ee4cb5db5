"""What runs or model versions were made with, compared: code, environment, datasets."""

from collections.abc import Sequence
from dataclasses import dataclass

from tournant.domain.code_changes import CodeChanges
from tournant.ports import BlobStore, UnitOfWork
from tournant.services.code_changes import compare_code
from tournant.services.run_environments import find_environment_of
from tournant.web.pages.differences import Table, environment_table, text_table
from tournant.web.pages.formats import short_id

__all__ = ["Group", "Made", "Surroundings", "compare_surroundings"]

MOST_GROUPS = 6  # different snapshots or environments that are laid beside the base's
GIT_COMMIT = "mlflow.source.git.commit"


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What one of the things compared was made with; `datasets` maps a dataset's name to its version or digest."""

    name: str
    code: str = ""
    commit: str = ""
    environment: str = ""
    datasets: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Those that were made with the same: the snapshot or environment, and their names."""

    digest: str
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """How those compared were made: `code` has the changes from the first's snapshot to each other one."""

    sources: Table
    datasets: Table
    snapshots: tuple[Group, ...]
    code: tuple[CodeChanges, ...]
    environments: tuple[Group, ...]
    packages: Table | None
    left_out: int = 0


def compare_surroundings(uow: UnitOfWork, blobs: BlobStore, made: Sequence[Made]) -> Surroundings:
    """Compare what things were made with; the first is the base."""
    snapshots = _groups([each.code for each in made], made)
    environments = _groups([each.environment for each in made], made)
    shown = environments[: MOST_GROUPS + 1]
    locked = [find_environment_of(uow, blobs, group.digest) for group in shown]
    others = [group for group in snapshots[1:] if snapshots[0].digest == made[0].code]
    sources = [
        {"Commit": each.commit[:12], "Code snapshot": short_id(each.code), "Environment": short_id(each.environment)}
        for each in made
    ]
    return Surroundings(
        sources=text_table("Code and environment", [{k: v for k, v in each.items() if v} for each in sources]),
        datasets=text_table("Datasets", [each.datasets for each in made]),
        snapshots=snapshots,
        code=tuple(compare_code(blobs, made[0].code, group.digest) for group in others[:MOST_GROUPS]),
        environments=shown,
        packages=environment_table(locked) if len(shown) > 1 else None,
        left_out=max(0, len(others) - MOST_GROUPS) + len(environments) - len(shown),
    )


def _groups(digests: Sequence[str], made: Sequence[Made]) -> tuple[Group, ...]:
    """Group those made with the same, in the order they come; what is not recorded makes no group."""
    found: dict[str, list[str]] = {}
    for digest, each in zip(digests, made, strict=True):
        if digest:
            found.setdefault(digest, []).append(each.name)
    return tuple(Group(digest=digest, names=tuple(names)) for digest, names in found.items())
