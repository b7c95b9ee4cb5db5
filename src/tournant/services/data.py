"""Datasets: named series of immutable versions in the content store."""

from collections.abc import Mapping
from pathlib import Path

from tournant.domain.data import Dataset, DatasetVersion, TreeSummary
from tournant.errors import Conflict, NotFound
from tournant.ports import Progress, UnitOfWork
from tournant.services.context import Context
from tournant.services.lookup import get_record

__all__ = [
    "add_dataset_version",
    "checkout_dataset_version",
    "find_newest_version",
    "get_dataset_version",
    "list_dataset_versions",
    "list_datasets",
]


def add_dataset_version(
    ctx: Context,
    name: str,
    path: Path,
    *,
    source: str = "",
    details: Mapping[str, float | str] | None = None,
    project_path: str = "",
    progress: Progress | None = None,
) -> DatasetVersion:
    """Keep a file or folder as the next version of a dataset; content equal to the newest version's is that version.

    `project_path` is where the project looks for it.
    """
    if not path.exists():
        raise NotFound(f"dataset {name!r}: there is no file or folder {path}")
    tree = ctx.blobs.put_tree(path, progress=progress)
    try:
        return _add(ctx, name, tree, source=source, details=details or {}, path=project_path)
    except Conflict:  # another process was quicker with a version of the same number
        return _add(ctx, name, tree, source=source, details=details or {}, path=project_path)


def _add(
    ctx: Context, name: str, tree: TreeSummary, *, source: str, details: Mapping[str, float | str], path: str
) -> DatasetVersion:
    now = ctx.clock.now()
    with ctx.transactions.begin() as uow:
        dataset = uow.get(Dataset, name, lock=True)
        if dataset is None:
            uow.add(Dataset(name=name, created_at=now, path=path))
        newest = find_newest_version(uow, name)
        if newest and newest.digest == tree.digest:
            return newest
        number = newest.number + 1 if newest else 1
        version = DatasetVersion(
            id=f"{name}@{number}",
            dataset=name,
            number=number,
            digest=tree.digest,
            files=tree.files,
            size_bytes=tree.size_bytes,
            created_at=now,
            source=source,
            actor=ctx.actor,
            details=dict(details),
        )
        uow.add(version)
        summary = f"{version.id} added: {version.files:,} files, {version.size_bytes:,} bytes"
        uow.record(ctx.event("dataset.version_added", f"dataset/{name}", summary, version=version.id, source=source))
    return version


def find_newest_version(uow: UnitOfWork, name: str) -> DatasetVersion | None:
    """Read the newest version of a dataset, if it has any."""
    found = uow.find(DatasetVersion, dataset=name, order="-number", limit=1)
    return found[0] if found else None


def get_dataset_version(ctx: Context, version: str) -> DatasetVersion:
    """Read a version by id (`flights@3`), or the newest by the dataset's name."""
    if "@" in version:
        return get_record(ctx, DatasetVersion, version, noun="dataset version", hint="tournant data list")
    with ctx.transactions.begin(write=False) as uow:
        newest = find_newest_version(uow, version)
    if newest is None:
        raise NotFound(f"there is no dataset {version!r}; list them: tournant data list")
    return newest


def list_datasets(ctx: Context) -> list[Dataset]:
    """List datasets by name."""
    with ctx.transactions.begin(write=False) as uow:
        return uow.find(Dataset, order="name")


def list_dataset_versions(ctx: Context, name: str) -> list[DatasetVersion]:
    """List a dataset's versions, newest first."""
    with ctx.transactions.begin(write=False) as uow:
        return uow.find(DatasetVersion, dataset=name, order="-number")


def checkout_dataset_version(
    ctx: Context, version: str, target: Path, *, progress: Progress | None = None
) -> DatasetVersion:
    """Put a version's content at `target`, in place of what is there; what has the content already is left alone."""
    found = get_dataset_version(ctx, version)
    ctx.blobs.checkout(found.digest, target, progress=progress)
    return found
