"""Repositories of DVC: what they track becomes dataset versions, their stages the steps of a pipeline."""

import configparser
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec
import yaml

from tournant.domain.data import DatasetVersion
from tournant.errors import Invalid, NotFound
from tournant.ports import Progress
from tournant.services.context import DataContext
from tournant.services.data import add_dataset_version
from tournant.services.imports import staging

__all__ = ["DvcImport", "import_dvc"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tracked:
    """One state of something DVC tracks: its path in the repository, its md5, and the git commit that had it (or none)."""

    path: str
    md5: str
    commit: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DvcImport:
    """What an import brought: versions, the steps written to `project_file`, and what could not be had."""

    versions: tuple[DatasetVersion, ...]
    steps: tuple[str, ...] = ()
    project_file: str = ""
    missing: tuple[str, ...] = field(default=())


def import_dvc(ctx: DataContext, repository: Path, *, progress: Progress | None = None) -> DvcImport:
    """Bring in a repository of DVC: each state that git or the working tree has of a `.dvc` file, oldest first, as versions.

    Content is taken from DVC's cache, else from its default remote. Stages of `dvc.yaml` become a `tournant.yaml` beside it,
    unless there is one. NotFound where there is no repository.
    """
    if not (repository / ".dvc").is_dir():
        raise NotFound(f"{repository} is no repository of DVC: it has no folder .dvc")
    contents = _Contents(ctx, repository)
    versions, missing = [], []
    for tracked in _tracked(repository):
        name = _dataset_name(tracked.path)
        try:
            with staging(ctx.settings.home / "imports") as folder:
                place = folder / PurePosixPath(tracked.path).name
                contents.write(tracked.md5, place)
                source = f"dvc {tracked.path}{f' at {tracked.commit[:12]}' if tracked.commit else ''}"
                versions.append(
                    add_dataset_version(ctx, name, place, source=source, project_path=tracked.path, progress=progress)
                )
        except NotFound as exc:
            missing.append(f"{tracked.path} ({tracked.md5}): {exc.message}")
    steps, project_file = _write_project(repository)
    return DvcImport(
        versions=tuple({version.id: version for version in versions}.values()),
        steps=steps,
        project_file=project_file,
        missing=tuple(missing),
    )


def _dataset_name(path: str) -> str:
    """Name a dataset after its path: `data/raw.csv` is `data-raw`."""
    return "-".join(PurePosixPath(path).with_suffix("").parts)


def _tracked(repository: Path) -> Iterator[_Tracked]:
    for file in sorted(repository.rglob("*.dvc")):
        if file.is_file() and ".dvc" not in file.relative_to(repository).parts[:-1]:
            name = file.relative_to(repository).as_posix()
            seen: list[str] = []
            for commit, text in [*_history(repository, name), ("", file.read_text(encoding="utf-8"))]:
                for out in _outs(text, f"{name}{f' at {commit[:12]}' if commit else ''}"):
                    path = (PurePosixPath(name).parent / out["path"]).as_posix()
                    if out["md5"] not in seen[-1:]:
                        seen.append(out["md5"])
                        yield _Tracked(path=path, md5=out["md5"], commit=commit)


def _outs(text: str, place: str) -> list[dict[str, Any]]:
    try:
        document = yaml.safe_load(text) or {}
        return [out for out in document.get("outs", ()) if out.get("md5") and out.get("path")]
    except (yaml.YAMLError, AttributeError) as exc:
        raise Invalid(f"{place} is no file of DVC: {exc}", place=place) from exc


def _history(repository: Path, name: str) -> Iterator[tuple[str, str]]:
    """Give the states that git has of a file, oldest first: commit and text."""
    git = shutil.which("git")
    if not git:
        return
    log = _git(git, repository, "log", "--reverse", "--format=%H", "--", name)
    for commit in log.split():
        text = _git(git, repository, "show", f"{commit}:./{name}")
        if text:
            yield commit, text


def _git(git: str, folder: Path, *words: str) -> str:
    done = subprocess.run([git, "-C", str(folder), *words], capture_output=True, text=True, check=False, timeout=120)
    return done.stdout if done.returncode == 0 else ""


class _Contents:
    """Contents by md5, from DVC's cache or its default remote (as DVC 3 and DVC 2 lay them out)."""

    def __init__(self, ctx: DataContext, repository: Path) -> None:
        config = _config(repository)
        self._urls = ctx.open_urls()
        self._cache = repository / ".dvc" / str(config.get("cache", {}).get("dir", "cache"))
        remote = config.get("core", {}).get("remote", "")
        self._remote = str(config.get(f"remote {remote}", {}).get("url", ""))
        if self._remote and "://" not in self._remote:
            self._remote = str((repository / ".dvc" / self._remote).resolve())

    def write(self, md5: str, target: Path) -> None:
        """Write a file, or the folder that a `.dir` lists."""
        if not md5.endswith(".dir"):
            return self._write_file(md5, target)
        listing = target.with_name("listing")
        self._write_file(md5, listing)
        for row in msgspec.json.decode(listing.read_bytes(), type=list[dict[str, Any]]):
            inside = PurePosixPath(row["relpath"])
            if inside.is_absolute() or ".." in inside.parts:
                raise Invalid(f"the folder {md5} of DVC names {row['relpath']!r}, which would leave it")
            self._write_file(row["md5"], target / inside)
        listing.unlink()
        return target.mkdir(exist_ok=True)

    def _write_file(self, md5: str, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        places = [f"files/md5/{md5[:2]}/{md5[2:]}", f"{md5[:2]}/{md5[2:]}"]
        for place in places:
            if (self._cache / place).is_file():
                try:
                    os.link(self._cache / place, target)
                except OSError:
                    shutil.copyfile(self._cache / place, target)
                return None
        for place in places if self._remote else ():
            try:
                return self._urls.download(f"{self._remote}/{place}", target)
            except NotFound:
                continue
        where = f"nor in {self._remote}" if self._remote else "and it has no default remote"
        raise NotFound(f"its content is not in DVC's cache {where}: dvc fetch, or dvc push where it is")


def _config(repository: Path) -> dict[str, Mapping[str, str]]:
    """Read DVC's configuration, the local one over the shared one."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.read([repository / ".dvc" / "config", repository / ".dvc" / "config.local"], encoding="utf-8")
    return {name.strip("'").replace('"', ""): parser[name] for name in parser.sections()}


def _write_project(repository: Path) -> tuple[tuple[str, ...], str]:
    """Write `tournant.yaml` of `dvc.yaml`, with commands as `dvc.lock` last ran them; give the steps and the file."""
    source, target = repository / "dvc.yaml", repository / "tournant.yaml"
    if not source.exists() or target.exists():
        return (), ""
    stages = (yaml.safe_load(source.read_text(encoding="utf-8")) or {}).get("stages") or {}
    lock_file = repository / "dvc.lock"
    locked = (
        (yaml.safe_load(lock_file.read_text(encoding="utf-8")) or {}).get("stages", {}) if lock_file.exists() else {}
    )
    names = [name for name in locked if name.partition("@")[0] in stages] or list(stages)
    steps: dict[str, object] = {}
    files: list[str] = []
    for name in names:
        stage = stages[name.partition("@")[0]]
        steps[name.replace("@", ".")] = _step(stage.get("do", stage), locked.get(name, {}), files)
    tracked = {_dataset_name(item.path): item.path for item in _tracked(repository)}
    project: dict[str, object] = {"project": repository.resolve().name, "data": tracked}
    if files:
        project["params_files"] = sorted(set(files))
    project["pipeline"] = steps
    text = yaml.safe_dump(project, sort_keys=False, allow_unicode=True)
    target.write_text(f"# Made from dvc.yaml by `tournant import dvc`.\n{text}", encoding="utf-8")
    return tuple(steps), str(target)


def _step(stage: Mapping[str, Any], lock: Mapping[str, Any], files: list[str]) -> dict[str, object]:
    command = lock.get("cmd", stage.get("cmd", ""))
    step: dict[str, object] = {"run": " && ".join(command) if isinstance(command, list) else command}
    metrics = _names(stage.get("metrics", ()))
    plots = _names(stage.get("plots", ()))
    outs = [out["path"] for out in lock.get("outs", ())] or _names(stage.get("outs", ()))
    deps = [dep["path"] for dep in lock.get("deps", ())] or _names(stage.get("deps", ()))
    values = {
        "deps": deps,
        "params": _params(stage.get("params", ()), files),
        "outs": [out for out in outs if out not in metrics and out not in plots],
        "metrics": metrics,
        "plots": plots,
        "frozen": bool(stage.get("frozen")),
    }
    return {**step, **{key: value for key, value in values.items() if value}}


def _names(items: Any) -> list[str]:
    """Give the paths of a list in which DVC lets a path be a mapping of its options."""
    return [item if isinstance(item, str) else next(iter(item)) for item in items]


def _params(items: Any, files: list[str]) -> list[str]:
    names = []
    for item in items:
        if isinstance(item, str):
            files.append("params.yaml")
            names.append(item)
        else:
            for file, keys in item.items():
                files.append(file)
                names += keys or ()
    return names
