"""Datasets, dataset versions and content digests."""

from dataclasses import dataclass, field

__all__ = ["Dataset", "DatasetVersion", "StepCacheEntry", "Tree", "TreeChanges", "TreeFile", "TreeSummary", "Workspace"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeFile:
    """One file of a tree: its content's digest, size and whether it is executable."""

    digest: str
    size_bytes: int
    executable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """An immutable folder (or one file, under its own name): relative POSIX path to file, sorted by path; empty folders too."""

    files: dict[str, TreeFile]
    folders: tuple[str, ...] = ()

    @property
    def size_bytes(self) -> int:
        """The sum of the files' sizes."""
        return sum(file.size_bytes for file in self.files.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeSummary:
    """A stored tree: its digest, and how many files of what size together it has."""

    digest: str
    files: int
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """A named series of dataset versions."""

    name: str
    created_at: float
    path: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetVersion:
    """An immutable tree with a digest. `id` is `name@number`; `source` says where it came from."""

    id: str
    dataset: str
    number: int
    digest: str
    files: int
    size_bytes: int
    created_at: float
    source: str = ""
    actor: str = ""
    details: dict[str, float | str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """A path on this machine that was added as, or checked out from, a dataset version."""

    path: str
    dataset: str
    version: str
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeChanges:
    """How one tree differs from another, by path."""

    added: tuple[str, ...] = ()
    modified: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Whether it differs at all."""
        return bool(self.added or self.modified or self.removed)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepCacheEntry:
    """The outputs of a step for one cache key: path to tree digest (metrics files included)."""

    key: str
    step: str
    outs: dict[str, str]
    created_at: float
    run: str = ""
