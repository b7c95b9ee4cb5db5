"""Ignore files: which paths a folder's `.tournantignore` (or `.gitignore`) leaves out."""

import fnmatch
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

__all__ = ["IgnorePattern", "ignored", "read_patterns"]


@dataclass(frozen=True, slots=True)
class IgnorePattern:
    """One line of an ignore file that stands in `base` (relative to the top folder, with a final slash, or empty)."""

    base: str
    glob: str
    anchored: bool
    folders_only: bool
    negated: bool

    def matches(self, path: str, *, folder: bool) -> bool:
        """Tell whether the line speaks of a path."""
        if (self.folders_only and not folder) or not path.startswith(self.base):
            return False
        inside = path.removeprefix(self.base)
        name = inside if self.anchored else inside.rpartition("/")[2]
        return fnmatch.fnmatchcase(name, self.glob)


def ignored(path: str, patterns: Sequence[IgnorePattern], *, folder: bool) -> bool:
    """Tell whether a path is left out; the last pattern that matches decides.

    >>> patterns = list(read_patterns(["*.tmp", "!keep.tmp", "cache/"], ""))
    >>> [ignored(p, patterns, folder=False) for p in ("a/x.tmp", "keep.tmp", "cache")], ignored("cache", patterns, folder=True)
    ([True, False, False], True)
    """
    out = False
    for pattern in patterns:
        if pattern.matches(path, folder=folder):
            out = not pattern.negated
    return out


def read_patterns(lines: Iterable[str], base: str) -> Iterator[IgnorePattern]:
    """Read an ignore file's lines, as git has them (without `**` inside a name)."""
    for line in lines:
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        negated = text.startswith("!")
        text = text.removeprefix("!")
        folders_only, text = text.endswith("/"), text.rstrip("/").removeprefix("**/")
        yield IgnorePattern(base, text.removeprefix("/"), "/" in text, folders_only, negated)
