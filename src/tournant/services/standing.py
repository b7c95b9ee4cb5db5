"""Whether a project stands as its last run left it: told from files' sizes and times, without opening the home.

Like the index of a version control system: a file with the same size, modification time and inode is taken for the same.
"""

import json
import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from tournant.config import VERSION, Settings
from tournant.domain.pipeline import Project
from tournant.services.code import own_files

__all__ = ["Standing", "keep_standing", "read_standing", "take_standing"]

_Stats = dict[str, list[int]]


@dataclass(frozen=True, slots=True)
class Standing:
    """The own files of a project as they are at one time, data and outs included."""

    stats: _Stats


def take_standing(settings: Settings, folder: Path) -> Standing:
    """Look at every file of a project, before it is run."""
    return Standing(_stats(own_files(folder, (), settings.home).items()))


def keep_standing(
    settings: Settings, folder: Path, project: Project, before: Standing, asked: Mapping[str, object], answer: object
) -> None:
    """Remember that what was `asked` of a project gave `answer`, unless its code or data changed since `before`.

    Called when a run has ended well.
    """
    apart = [*project.data.values(), *project.products]
    code = _stats(own_files(folder, apart, settings.home).items())
    made = _stats(_inside(folder, apart))
    data = _stats(_inside(folder, project.data.values()))
    known = before.stats
    if any(known.get(path) != stat for path, stat in code.items()):
        return
    if any(known.get(path, stat) != stat for path, stat in data.items()):  # ignored by git: not among those seen before
        return
    content = {"asked": _ask(settings, asked), "apart": apart, "code": code, "made": made, "answer": answer}
    place = _place(settings, folder)
    place.parent.mkdir(parents=True, exist_ok=True)
    partial = place.with_name(f".{place.name}.{os.getpid()}")
    partial.write_text(json.dumps(content))
    partial.replace(place)


def read_standing(settings: Settings, folder: Path, asked: Mapping[str, object]) -> object:
    """Give the answer that was remembered for what is asked, if every file still stands as it did then; else None."""
    try:
        kept = json.loads(_place(settings, folder).read_text())
        if kept["asked"] != _ask(settings, asked):
            return None
        code = _stats(own_files(folder, kept["apart"], settings.home).items())
        if code != kept["code"] or _stats(_inside(folder, kept["apart"])) != kept["made"]:
            return None
        answer: object = kept["answer"]
    except (OSError, ValueError, KeyError):
        return None
    return answer


def _ask(settings: Settings, asked: Mapping[str, object]) -> dict[str, object]:
    """Give what is asked with what else an answer hangs on: the platform, its metadata and its environment variables' effect."""
    own = {"version": VERSION, "python": settings.platform_python, "database": settings.database_url}
    answer: dict[str, object] = json.loads(json.dumps({**asked, **own}))
    return answer


def _place(settings: Settings, folder: Path) -> Path:
    name = blake2b(os.fsencode(folder.resolve()), digest_size=8).hexdigest()
    return settings.home / "runs" / f"{name}.standing.json"


def _inside(folder: Path, paths: Collection[str]) -> Iterator[tuple[str, Path]]:
    """Give all files at some paths; one that is not there stands for itself."""
    for path in paths:
        place = folder / path
        if not place.is_dir():
            yield path, place
            continue
        for entry in place.rglob("*"):
            if not entry.is_dir():
                yield entry.relative_to(folder).as_posix(), entry


def _stats(files: Collection[tuple[str, Path]] | Iterator[tuple[str, Path]]) -> _Stats:
    found: _Stats = {}
    for path, place in files:
        try:
            stat = place.stat()
        except OSError:
            found[path] = []
            continue
        found[path] = [stat.st_size, stat.st_mtime_ns, stat.st_ino]
    return found
