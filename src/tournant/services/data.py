"""Datasets: named series of immutable versions in the content store."""

import re
from collections.abc import Mapping
from pathlib import Path

from tournant.domain.data import Dataset, DatasetTag, DatasetVersion, TreeSummary
from tournant.domain.registry import ModelVersion
from tournant.errors import Conflict, Invalid, NotFound
from tournant.ports import Progress, UnitOfWork
from tournant.services.context import CoreContext

__all__ = [
    "add_dataset_version",
    "checkout_dataset_version",
    "find_newest_version",
    "get_dataset_version",
    "list_dataset_tags",
    "list_dataset_versions",
    "list_datasets",
    "remove_dataset_version",
    "tag_dataset_version",
]


def add_dataset_version(
    ctx: CoreContext,
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
    ctx: CoreContext, name: str, tree: TreeSummary, *, source: str, details: Mapping[str, float | str], path: str
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


def get_dataset_version(ctx: CoreContext, version: str) -> DatasetVersion:
    """Read a version by id (`flights@3`) or tag (`flights@spring`), or the newest by the dataset's name."""
    name, at, wanted = version.partition("@")
    with ctx.transactions.begin(write=False) as uow:
        tag = uow.get(DatasetTag, name, wanted) if at and not wanted.isdecimal() else None
        found = uow.get(DatasetVersion, tag.version if tag else version) if at else find_newest_version(uow, name)
        newest = find_newest_version(uow, name)
        tags = uow.find(DatasetTag, dataset=name, order="tag")
    if found:
        return found
    if newest is None:
        what = f"dataset version {version!r}, nor a dataset {name!r}" if at else f"dataset {name!r}"
        raise NotFound(f"there is no {what}; list them: tournant data list")
    known = ", ".join(f"{name}@{tag.tag}" for tag in tags)
    raise NotFound(
        f"there is no dataset version {version!r} (the newest is {newest.id}{f'; tags: {known}' if known else ''}); "
        f"list them: tournant data log {name}"
    )


def tag_dataset_version(ctx: CoreContext, version: str, tag: str) -> DatasetTag:
    """Let a tag name a version; it moves if it named another."""
    found = get_dataset_version(ctx, version)
    if not re.fullmatch(r"[A-Za-z][\w.-]*", tag):
        raise Invalid(f"{tag!r} is no tag: a letter, then letters, digits, '.', '_' and '-', such as spring-2024")
    record = DatasetTag(dataset=found.dataset, tag=tag, version=found.id, set_at=ctx.clock.now())
    with ctx.transactions.begin() as uow:
        uow.save(record)
        summary = f"{found.dataset}@{tag} is now {found.id}"
        uow.record(ctx.event("dataset.tagged", f"dataset/{found.dataset}", summary, version=found.id, tag=tag))
    return record


def list_dataset_tags(ctx: CoreContext, name: str) -> list[DatasetTag]:
    """List a dataset's tags."""
    with ctx.transactions.begin(write=False) as uow:
        return uow.find(DatasetTag, dataset=name, order="tag")


def remove_dataset_version(ctx: CoreContext, version: str) -> DatasetVersion:
    """Forget a version; Conflict while a model version or a tag refers to it. `tournant data gc` then frees its content."""
    found = get_dataset_version(ctx, version)
    with ctx.transactions.begin() as uow:
        if find_newest_version(uow, found.dataset) == found:
            raise Conflict(f"{found.id} is the newest version of {found.dataset}: only older ones can be removed")
        users = [model.id for model in uow.find(ModelVersion) if found.id in model.datasets]
        tags = [f"the tag {tag.tag}" for tag in uow.find(DatasetTag, dataset=found.dataset, version=found.id)]
        if users or tags:
            raise Conflict(f"{found.id} is in use: {', '.join([*users, *tags][:5])}. What uses it must go first")
        uow.remove(DatasetVersion, id=found.id)
        uow.record(ctx.event("dataset.version_removed", f"dataset/{found.dataset}", f"{found.id} removed"))
    return found


def list_datasets(ctx: CoreContext) -> list[Dataset]:
    """List datasets by name."""
    with ctx.transactions.begin(write=False) as uow:
        return uow.find(Dataset, order="name")


def list_dataset_versions(ctx: CoreContext, name: str) -> list[DatasetVersion]:
    """List a dataset's versions, newest first."""
    with ctx.transactions.begin(write=False) as uow:
        return uow.find(DatasetVersion, dataset=name, order="-number")


def checkout_dataset_version(
    ctx: CoreContext, version: str, target: Path, *, progress: Progress | None = None
) -> DatasetVersion:
    """Put a version's content at `target`, in place of what is there; what has the content already is left alone."""
    found = get_dataset_version(ctx, version)
    ctx.blobs.checkout(found.digest, target, progress=progress)
    return found
