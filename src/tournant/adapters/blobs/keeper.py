"""What datasets need of a local store beyond its content: workspaces, garbage collection, checking and mending."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from tournant.adapters.blobs.check import check
from tournant.adapters.blobs.collect import collect
from tournant.adapters.blobs.files import explained
from tournant.adapters.blobs.local import LocalBlobStore, to_key
from tournant.adapters.blobs.manifests import Entry, tree_key
from tournant.adapters.blobs.trees import digest_tree
from tournant.domain.data import Collection, StoreCheck, TreeChanges, Workspace
from tournant.ports import Progress, RemoteStore

__all__ = ["LocalKeeper"]


class LocalKeeper:
    """Keeps a `LocalBlobStore` in order."""

    def __init__(self, store: LocalBlobStore) -> None:
        """Keep `store`."""
        self._store = store

    def record(self, workspace: Workspace) -> None:
        """Remember which dataset version a path is."""
        self._store.stats.record(workspace)

    def workspaces(self) -> list[Workspace]:
        """Give the paths that are dataset versions."""
        return self._store.stats.workspaces()

    def changes(self, workspace: Workspace) -> TreeChanges:
        """Compare a path with the dataset version it was; files that look unchanged are not read."""
        path = Path(workspace.path)
        entries = digest_tree(self._store.stats, path, "") if path.exists() else []
        if tree_key(entries) == to_key(workspace.digest):
            return TreeChanges()
        here = {entry.path: entry for entry in entries}
        there = {entry.path: entry for entry in self._store.entries(workspace.digest)}
        return TreeChanges(
            added=_sorted(here[path] for path in here.keys() - there.keys()),
            modified=_sorted(here[path] for path in here.keys() & there.keys() if here[path] != there[path]),
            removed=_sorted(there[path] for path in there.keys() - here.keys()),
        )

    def collect(self, roots: Callable[[], Iterable[str]], *, grace_seconds: float, dry_run: bool = False) -> Collection:
        """Remove what `roots` do not reach, unless it was stored within the last `grace_seconds`."""
        with explained(f"cannot collect garbage in {self._store.objects.root}"):
            return collect(
                self._store.objects,
                self._store.loose,
                lambda: map(to_key, roots()),
                grace_seconds=grace_seconds,
                dry_run=dry_run,
            )

    def check(
        self,
        roots: Mapping[str, str],
        *,
        repair_from: Iterable[RemoteStore] | None = None,
        progress: Progress | None = None,
    ) -> StoreCheck:
        """Read everything; `roots` (digest to a name for people) must be whole. With remotes, mend what is not."""
        keys = {to_key(digest): name for digest, name in roots.items()}
        fetch = None
        if repair_from is not None:
            remotes = list(repair_from)
            fetch = lambda wanted: (found for remote in remotes for found in remote.objects(wanted))  # noqa: E731
        with explained(f"cannot check {self._store.objects.root}"):
            return check(self._store.objects, self._store.loose, keys, fetch=fetch, progress=progress)


def _sorted(entries: Iterable[Entry]) -> tuple[str, ...]:
    return tuple(sorted(entry.path for entry in entries))
