"""Remotes: other places for dataset versions, and moving versions there and back."""

from collections.abc import Sequence
from dataclasses import dataclass

from tournant.domain.data import Dataset, DatasetVersion, Remote, Transfer
from tournant.errors import Conflict, NotFound
from tournant.ports import Progress, RemoteStore
from tournant.services.context import CoreContext, DataContext
from tournant.services.data import get_dataset_version, list_dataset_versions, list_datasets

__all__ = [
    "add_remote",
    "fetch_version",
    "find_remote_version",
    "get_remote",
    "list_remotes",
    "pull_datasets",
    "push_datasets",
    "remove_remote",
]


def add_remote(ctx: CoreContext, name: str, url: str, *, project: str = "") -> Remote:
    """Remember a remote; its project (by default the folder the home is in) is what our versions are filed under there."""
    remote = Remote(
        name=name, url=url, project=project or ctx.settings.home.parent.name or "project", created_at=ctx.clock.now()
    )
    ctx.open_remote(remote)  # Invalid for an address nobody knows
    with ctx.transactions.begin() as uow:
        uow.save(remote)
        uow.record(ctx.event("remote.added", f"remote/{name}", f"remote {name} is {url}, project {remote.project}"))
    return remote


def list_remotes(ctx: CoreContext) -> list[Remote]:
    """List remotes by name."""
    with ctx.transactions.begin(write=False) as uow:
        return uow.find(Remote, order="name")


def get_remote(ctx: CoreContext, name: str = "") -> Remote:
    """Read a remote by name, or the only one."""
    remotes = {remote.name: remote for remote in list_remotes(ctx)}
    if not name and len(remotes) == 1:
        return next(iter(remotes.values()))
    if name in remotes:
        return remotes[name]
    if not remotes:
        raise NotFound(
            "there is no remote yet: tournant remotes add NAME URL (a folder, s3://BUCKET/…, gs://…, az://…)"
        )
    what = f"there is no remote {name!r}" if name else "there are several remotes, say which: --remote NAME"
    raise NotFound(f"{what} (there are: {', '.join(remotes)})")


def remove_remote(ctx: DataContext, name: str) -> Remote:
    """Forget a remote; what it holds stays there."""
    remote = get_remote(ctx, name)
    with ctx.transactions.begin() as uow:
        uow.remove(Remote, name=remote.name)
        uow.record(ctx.event("remote.removed", f"remote/{name}", f"remote {name} removed ({remote.url})"))
    return remote


def push_datasets(
    ctx: DataContext, remote: Remote, wanted: Sequence[str], *, progress: Progress | None = None
) -> Transfer:
    """Send versions to a remote: those named (`flights@3`), all of a dataset (`flights`), or all of all datasets."""
    names = wanted or [dataset.name for dataset in list_datasets(ctx)]
    versions = []
    for name in names:
        found = get_dataset_version(ctx, name)
        versions += [found] if "@" in name else sorted(list_dataset_versions(ctx, name), key=lambda v: v.number)
    if not versions:
        raise NotFound("there is no dataset to push: tournant data add NAME PATH")
    return ctx.open_remote(remote).push(versions, progress=progress)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulled:
    """The versions a pull brought, and what moved."""

    versions: tuple[str, ...]
    transfer: Transfer


def pull_datasets(
    ctx: DataContext, remote: Remote, wanted: Sequence[str], *, progress: Progress | None = None
) -> Pulled:
    """Bring versions from a remote, content and record: those named, all of a dataset, or all; those here cost nothing."""
    store = ctx.open_remote(remote)
    chosen = _choose(store.versions(), wanted, remote)
    moved = Transfer()
    for version in chosen:
        _check_same(ctx, version, remote)
        moved = _sum(moved, store.fetch(version.digest, progress=progress))
        _register(ctx, version, remote)
    return Pulled(versions=tuple(version.id for version in chosen), transfer=moved)


def fetch_version(
    ctx: DataContext, remote: Remote, wanted: str, *, under: str = "", progress: Progress | None = None
) -> Pulled:
    """Bring the content of one version, or of a file or folder in it, and the version's record."""
    store = ctx.open_remote(remote)
    (version,) = _choose(store.versions(wanted.partition("@")[0]), [wanted], remote)[-1:]
    _check_same(ctx, version, remote)
    moved = store.fetch(version.digest, under=under, progress=progress)
    _register(ctx, version, remote)
    return Pulled(versions=(version.id,), transfer=moved)


def find_remote_version(store: RemoteStore, wanted: str) -> DatasetVersion | None:
    """Find a version at a remote by id, or the newest by its dataset's name."""
    found = [version for version in store.versions(wanted.partition("@")[0]) if wanted in (version.id, version.dataset)]
    return found[-1] if found else None


def _choose(there: list[DatasetVersion], wanted: Sequence[str], remote: Remote) -> list[DatasetVersion]:
    if not wanted:
        return there
    chosen = []
    for name in wanted:
        found = [version for version in there if name in (version.id, version.dataset)]
        if not found:
            known = ", ".join(sorted({version.dataset for version in there})) or "nothing"
            raise NotFound(f"remote {remote.name!r} has no {name!r} of project {remote.project!r} (it has: {known})")
        chosen += found
    return chosen


def _check_same(ctx: DataContext, version: DatasetVersion, remote: Remote) -> None:
    with ctx.transactions.begin(write=False) as uow:
        here = uow.get(DatasetVersion, version.id)
    if here and here.digest != version.digest:
        raise Conflict(
            f"{version.id} here is another content than {version.id} at remote {remote.name!r}: "
            f"the two were made apart. Get that one as a folder: tournant data get {remote.name}:{version.id} PATH"
        )


def _register(ctx: DataContext, version: DatasetVersion, remote: Remote) -> None:
    with ctx.transactions.begin() as uow:
        if uow.get(DatasetVersion, version.id):
            return
        if uow.get(Dataset, version.dataset, lock=True) is None:
            uow.add(Dataset(name=version.dataset, created_at=version.created_at))
        uow.add(version)
        summary = f"{version.id} pulled from {remote.name}: {version.files:,} files, {version.size_bytes:,} bytes"
        uow.record(ctx.event("dataset.version_pulled", f"dataset/{version.dataset}", summary, version=version.id))


def _sum(one: Transfer, other: Transfer) -> Transfer:
    return Transfer(
        objects=one.objects + other.objects,
        size_bytes=one.size_bytes + other.size_bytes,
        requests=one.requests + other.requests,
    )
