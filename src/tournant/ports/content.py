"""Content: the store, its upkeep, remotes, and data at addresses."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from tournant.domain.data import (
    Collection,
    DatasetVersion,
    StoreCheck,
    Transfer,
    Tree,
    TreeChanges,
    TreeSummary,
    Workspace,
)
from tournant.domain.machine import SharedStep
from tournant.domain.tables import TableChanges

__all__ = ["BlobStore", "Progress", "RemoteStore", "StoreKeeper", "TableComparer", "Urls"]

Progress = Callable[[int, int], None]  # told how many more files and bytes are done


class BlobStore(Protocol):
    """Immutable content by BLAKE3 digest (64 hexadecimal digits). Trees are manifests, stored as blobs themselves."""

    def put(self, source: BinaryIO | bytes) -> str:
        """Store content atomically and give its digest; content that is there already costs no write."""
        ...

    def open(self, digest: str) -> BinaryIO:
        """Open content for reading; NotFound if absent."""
        ...

    def path(self, digest: str) -> Path:
        """Give a local read-only file with the content; NotFound if absent."""
        ...

    def has(self, digest: str) -> bool:
        """Tell whether the content is here."""
        ...

    def put_tree(self, path: Path, *, progress: Progress | None = None) -> TreeSummary:
        """Store a folder, or one file under its own name; `.tournantignore` files leave out what they name."""
        ...

    def tree(self, digest: str) -> Tree:
        """Read a tree manifest."""
        ...

    def checkout(self, digest: str, target: Path, *, progress: Progress | None = None) -> None:
        """Write a tree to `target` (created; a single-file tree becomes that file if `target` has its name)."""
        ...


class StoreKeeper(Protocol):
    """What datasets need of the content store on this machine beyond content: workspaces, upkeep."""

    def record(self, workspace: Workspace) -> None:
        """Remember which dataset version a path is."""
        ...

    def workspaces(self) -> list[Workspace]:
        """Give the paths that are dataset versions."""
        ...

    def changes(self, workspace: Workspace) -> TreeChanges:
        """Compare a path with the dataset version it was."""
        ...

    def collect(self, roots: Callable[[], Iterable[str]], *, grace_seconds: float, dry_run: bool = False) -> Collection:
        """Remove what `roots` do not reach and nobody stored within `grace_seconds`; writers may be at work."""
        ...

    def check(
        self,
        roots: Mapping[str, str],
        *,
        repair_from: Iterable["RemoteStore"] | None = None,
        progress: Progress | None = None,
    ) -> StoreCheck:
        """Read everything; `roots` (digest to a name for people) must be whole. With remotes, mend what is not."""
        ...


class RemoteStore(Protocol):
    """Dataset versions at another place, shared by several projects."""

    def versions(self, dataset: str = "") -> list[DatasetVersion]:
        """Give the versions that our project has there (of one dataset, or all), by dataset and number."""
        ...

    def push(self, versions: Sequence[DatasetVersion], *, progress: Progress | None = None) -> Transfer:
        """Send versions; Conflict when another content has a version's number there."""
        ...

    def fetch(self, digest: str, *, under: str = "", progress: Progress | None = None) -> Transfer:
        """Get a tree, or the part of it under a path, into the content store; NotFound if the remote lacks it."""
        ...

    def find_step(self, key: str) -> SharedStep | None:
        """Read what the step cache there answers to a key, whoever made it; None if nothing, or nothing readable."""
        ...

    def push_steps(self, made: Sequence[SharedStep], *, where_absent: Sequence[SharedStep] = ()) -> Transfer:
        """Send steps' outs, and file them under their keys: those `made` in the place of what is filed there."""
        ...

    def tree(self, digest: str) -> Tree:
        """Read a tree manifest that is there, without its files."""
        ...

    def open(self, digest: str) -> BinaryIO:
        """Open content for reading and seeking; only what is read comes."""
        ...

    def objects(self, digests: Iterable[bytes]) -> Iterator[Any]:
        """Give those stored objects that are there, for repair."""
        ...

    def collect(self, *, dry_run: bool = False) -> Collection:
        """Remove what no version of any project reaches; pushes may be going on."""
        ...


class Urls(Protocol):
    """What stands at addresses: HTTP(S), S3, GCS, Azure, or a path on this machine."""

    def mark(self, url: str) -> str:
        """Give a word that changes when what stands at an address changes; NotFound if nothing does."""
        ...

    def download(self, url: str, target: Path, *, progress: Progress | None = None) -> None:
        """Write what stands at an address to `target`: a file, or a folder of files.

        What an interrupted download left of it at `target` is not read again.
        """
        ...


class TableComparer(Protocol):
    """Compares two versions of a table file."""

    def compares(self, name: str) -> bool:
        """Tell whether a file of this name is a table."""
        ...

    def compare(self, name: str, before: Path, after: Path) -> TableChanges:
        """Say how a table changed; Invalid if a file cannot be read as what its name says."""
        ...
