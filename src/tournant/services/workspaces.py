"""Paths on this machine that are dataset versions: added, looked at, checked out, compared."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tournant.domain.data import DatasetVersion, TreeChanges, Workspace, compare_trees
from tournant.domain.tables import TableChanges
from tournant.errors import NotFound
from tournant.ports import Progress, StoreKeeper
from tournant.services.context import DataContext
from tournant.services.data import add_dataset_version, checkout_dataset_version, get_dataset_version

__all__ = [
    "WorkspaceStatus",
    "add_workspace",
    "checkout_workspace",
    "compare_version_tables",
    "compare_versions",
    "list_statuses",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkspaceStatus:
    """How a path differs from the dataset version it was; `missing` when nothing is there."""

    workspace: Workspace
    changes: TreeChanges
    missing: bool = False


def add_workspace(
    ctx: DataContext, name: str, path: Path, *, source: str = "by hand", progress: Progress | None = None
) -> DatasetVersion:
    """Keep a path as a dataset's next version, and remember that it is that version."""
    version = add_dataset_version(ctx, name, path, source=source, progress=progress)
    _record(ctx, version, path)
    return version


def checkout_workspace(
    ctx: DataContext, version: str, path: Path | None, *, progress: Progress | None = None
) -> tuple[DatasetVersion, Path]:
    """Put a version at a path (without one, where its dataset was last) and remember that it is there."""
    found = get_dataset_version(ctx, version)
    target = path or _last_place(ctx, found)
    checkout_dataset_version(ctx, found.id, target, progress=progress)
    _record(ctx, found, target)
    return found, target


def list_statuses(keeper: StoreKeeper, paths: Iterable[Path] = ()) -> list[WorkspaceStatus]:
    """Say how workspaces (some paths, or all) differ from the versions they were."""
    known = {workspace.path: workspace for workspace in keeper.workspaces()}
    chosen = [_absolute(path) for path in paths]
    for path in chosen:
        if path not in known:
            raise NotFound(
                f"{path} was never added or checked out here: tournant data add NAME {path} "
                f"(known: {', '.join(known) or 'none'})"
            )
    return [_status(keeper, known[path]) for path in chosen or known]


def compare_versions(ctx: DataContext, before: str, after: str) -> TreeChanges:
    """Say which files differ between two versions."""
    trees = [ctx.blobs.tree(get_dataset_version(ctx, version).digest) for version in (before, after)]
    return compare_trees(*trees)


def compare_version_tables(ctx: DataContext, before: str, after: str) -> list[TableChanges]:
    """Say how the tables (Parquet, CSV) that differ between two versions changed."""
    old, new = (ctx.blobs.tree(get_dataset_version(ctx, version).digest) for version in (before, after))
    return [
        ctx.tables.compare(name, ctx.blobs.path(old.files[name].digest), ctx.blobs.path(new.files[name].digest))
        for name in compare_trees(old, new).modified
        if ctx.tables.compares(name)
    ]


def _status(keeper: StoreKeeper, workspace: Workspace) -> WorkspaceStatus:
    if not Path(workspace.path).exists():
        return WorkspaceStatus(workspace=workspace, changes=TreeChanges(), missing=True)
    return WorkspaceStatus(workspace=workspace, changes=keeper.changes(workspace))


def _record(ctx: DataContext, version: DatasetVersion, path: Path) -> None:
    ctx.keeper.record(
        Workspace(path=_absolute(path), dataset=version.dataset, version=version.id, digest=version.digest)
    )


def _last_place(ctx: DataContext, version: DatasetVersion) -> Path:
    places = [Path(known.path) for known in ctx.keeper.workspaces() if known.dataset == version.dataset]
    if len(places) != 1:
        known = f"it was at {', '.join(map(str, places))}" if places else "it was never on this machine"
        raise NotFound(f"say where {version.id} shall go ({known}): tournant data checkout {version.id} PATH")
    return places[0]


def _absolute(path: Path) -> str:
    return os.path.abspath(path)  # noqa: PTH100 - without `..`, but not through links
