"""How two code snapshots differ: files added, removed and changed, and the lines of those that are text."""

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import unified_diff

from tournant.domain.data import Tree

__all__ = ["CodeChanges", "FileChange", "changed_files", "diff_lines"]

MOST_LINES = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class FileChange:
    """A file that differs. `change` is added, removed or changed; `lines` a unified diff; `note` why there is none, or not all."""

    path: str
    change: str
    lines: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeChanges:
    """How the snapshot `other` differs from `base`; `more` files differ too; `note` why they could not be compared."""

    base: str
    other: str
    files: tuple[FileChange, ...] = ()
    more: int = 0
    note: str = ""


def changed_files(base: Tree, other: Tree) -> Iterator[tuple[str, str]]:
    """Give the path of each file that differs, and how."""
    for path in sorted(base.files.keys() | other.files.keys()):
        old, new = base.files.get(path), other.files.get(path)
        if old is None:
            yield path, "added"
        elif new is None:
            yield path, "removed"
        elif old.digest != new.digest:
            yield path, "changed"


def diff_lines(base: str, other: str) -> tuple[tuple[str, ...], bool]:
    r"""Give the lines that differ with two around them, and whether these are all.

    >>> diff_lines("a\nb\nc\n", "a\nB\nc\n")
    (('@@ -1,3 +1,3 @@', ' a', '-b', '+B', ' c'), True)
    """
    found = list(unified_diff(base.splitlines(), other.splitlines(), lineterm="", n=2))[2:]  # after both files' names
    return tuple(found[:MOST_LINES]), len(found) <= MOST_LINES
