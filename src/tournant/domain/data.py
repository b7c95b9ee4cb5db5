"""Datasets, dataset versions and content digests."""

from dataclasses import dataclass, field

__all__ = [
    "Collection",
    "Dataset",
    "DatasetTag",
    "DatasetVersion",
    "Remote",
    "StepCacheEntry",
    "StoreCheck",
    "Transfer",
    "Tree",
    "TreeChanges",
    "TreeFile",
    "TreeSummary",
    "Workspace",
]


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
class DatasetTag:
    """A name for one version of a dataset: `flights@spring` is the version that carries the tag `spring`."""

    dataset: str
    tag: str
    version: str
    set_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    """Another place for dataset versions: a folder or object storage, where `project` is what ours are filed under."""

    name: str
    url: str
    project: str
    created_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """What a push or fetch moved: objects and bytes; `versions` and `steps` that were new there, `requests` made to the remote."""

    objects: int = 0
    size_bytes: int = 0
    versions: tuple[str, ...] = ()
    steps: int = 0
    requests: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """A path on this machine that was added as, or checked out from, a dataset version."""

    path: str
    dataset: str
    version: str
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    """What a garbage collection removed (or would): objects and their bytes."""

    objects: int
    size_bytes: int
    kept_objects: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreCheck:
    """What reading a whole content store found.

    `damaged` objects are not what their digests say; `missing` ones are reached and not there; `incomplete` names what
    reaches them. `repaired` objects were got from a remote.
    """

    packs: int
    objects: int
    files: int
    damaged: tuple[str, ...] = ()
    damaged_packs: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    incomplete: tuple[str, ...] = ()
    repaired: int = 0
    mended: bool = False  # damaged objects are no longer in the store's way

    @property
    def sound(self) -> bool:
        """Whether all that is reached is there as it was stored, or is again."""
        return not self.incomplete and (self.mended or not (self.damaged or self.damaged_packs))


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
    """The outputs of a step for one cache key: path to tree digest (metrics files included).

    `run` is the run of this home that made them, or that took them from a remote.
    """

    key: str
    step: str
    outs: dict[str, str]
    created_at: float
    run: str = ""


def compare_trees(before: Tree, after: Tree) -> TreeChanges:
    """Say which files were added, modified and removed.

    >>> file = TreeFile(digest="a", size_bytes=1)
    >>> compare_trees(Tree(files={"x": file, "y": file}), Tree(files={"y": TreeFile(digest="b", size_bytes=1), "z": file}))
    TreeChanges(added=('z',), modified=('y',), removed=('x',))
    """
    old, new = before.files, after.files
    empty_before, empty_after = set(before.folders), set(after.folders)
    return TreeChanges(
        added=tuple(sorted([*(new.keys() - old.keys()), *(f"{path}/" for path in empty_after - empty_before)])),
        modified=tuple(sorted(path for path in new.keys() & old.keys() if new[path] != old[path])),
        removed=tuple(sorted([*(old.keys() - new.keys()), *(f"{path}/" for path in empty_before - empty_after)])),
    )
