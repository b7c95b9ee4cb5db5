"""Code snapshots: a project's own files, as they are now, as one tree in the content store."""

import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

from tournant.domain.ignore import IgnorePattern, ignored, read_patterns
from tournant.domain.pipeline import Project
from tournant.services.context import Context

__all__ = ["capture_code", "find_commit", "own_files"]

IGNORE_FILES = (".gitignore", ".tournantignore")
NEVER = frozenset(
    {
        *(".git", ".hg", ".svn", ".tournant", ".venv", "venv", "node_modules", "__pycache__"),
        *(".pytest_cache", ".mypy_cache", ".ruff_cache", ".ipynb_checkpoints", ".DS_Store"),
    }
)


def capture_code(ctx: Context, project: Project, folder: Path) -> str:
    """Keep the project's own files and give their tree digest.

    Left out are datasets and outs (they have versions of their own), tournant's home, version control, environments, caches,
    and what `.gitignore` and `.tournantignore` name (without `**` inside a name and character classes of git's own).
    """
    staging = ctx.settings.home / "snapshots" / hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]

    wanted = own_files(folder, (*project.data.values(), *project.products), ctx.settings.home)
    for extra in [file for file in _files(staging) if file.relative_to(staging).as_posix() not in wanted]:
        extra.unlink()
    for path, source in wanted.items():
        _link(source, staging / path)
    return ctx.blobs.put_tree(staging).digest


def own_files(folder: Path, apart: Collection[str], home: Path) -> dict[str, Path]:
    """Give a project's own files by relative path: all but what is `apart`, the home, and what is never or not to be kept."""

    def left_out(path: str, entry: Path) -> bool:
        return any(path == other or path.startswith(f"{other}/") for other in apart) or entry == home

    return dict(_walk(folder, "", (), left_out))


def find_commit(folder: Path) -> str:
    """Give the git commit a folder is at; empty without git, a repository or a commit."""
    git = shutil.which("git")
    if not git or not any((parent / ".git").exists() for parent in (folder, *folder.parents)):
        return ""
    try:
        done = subprocess.run(
            [git, "-C", str(folder), "rev-parse", "HEAD"], capture_output=True, text=True, check=False, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _walk(
    folder: Path, base: str, patterns: Sequence[IgnorePattern], left_out: Callable[[str, Path], bool]
) -> Iterator[tuple[str, Path]]:
    here = [*patterns, *(pattern for name in IGNORE_FILES for pattern in _read_patterns(folder / name, base))]
    for entry in sorted(folder.iterdir()):
        path = f"{base}{entry.name}"
        is_folder = entry.is_dir()
        if entry.name in NEVER or left_out(path, entry) or ignored(path, here, folder=is_folder):
            continue
        if is_folder and not entry.is_symlink() and not (entry / "pyvenv.cfg").exists():
            yield from _walk(entry, f"{path}/", here, left_out)
        elif entry.is_file():
            yield path, entry


def _read_patterns(path: Path, base: str) -> Iterator[IgnorePattern]:
    if path.is_file():
        yield from read_patterns(path.read_text(encoding="utf-8", errors="replace").splitlines(), base)


def _link(source: Path, target: Path) -> None:
    """Make `target` the same file as `source`, or a copy where that cannot be; one that is so already is left alone."""
    source = source.resolve()
    if target.is_dir():
        shutil.rmtree(target)  # a folder became a file
    if target.exists():
        old, new = target.stat(), source.stat()
        if (old.st_size, old.st_mtime_ns, old.st_mode) == (new.st_size, new.st_mtime_ns, new.st_mode):
            return
        target.unlink()
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if not path.is_dir())
