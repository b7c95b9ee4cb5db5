"""A run's files, wherever they are kept, under one path each: its artifacts, the models it logged, what its steps wrote.

`artifacts/plots/roc.png` is an artifact, `models/ID/MLmodel` a file of a logged model, `outs/build/model.pkl` of a step's out.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from tournant.domain.data import TreeFile
from tournant.domain.logged_models import Artifact, LoggedModel
from tournant.domain.tracking import Run, StepRun
from tournant.errors import NotFound
from tournant.ports import BlobStore, UnitOfWork
from tournant.services.artifacts import artifact_path, clean_path, entries_in

__all__ = ["ARTIFACTS", "Listing", "RunFile", "find_run_file", "list_run_files"]

ARTIFACTS, MODELS, OUTS = "artifacts", "models", "outs"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFile:
    """A file or folder of a run; a folder has neither digest nor size, `title` is what people call it."""

    path: str
    title: str
    digest: str = ""
    size_bytes: int | None = None
    folder: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """What stands in a folder; `more` when it is not all, `elsewhere` the address of artifacts that are not kept here."""

    files: tuple[RunFile, ...]
    more: bool = False
    elsewhere: str = ""


def list_run_files(uow: UnitOfWork, blobs: BlobStore, run: Run, path: str = "", *, limit: int = 500) -> Listing:
    """List a folder of a run; without a path, its artifacts, logged models and outs."""
    path = clean_path(path)
    kind, _, rest = path.partition("/")
    if not path:
        own = _artifacts(uow, run.artifact_location, ARTIFACTS, "", limit)
        files = (*own.files, *_models(uow, run), *_outs(uow, run))
        return Listing(files=files[:limit], more=own.more or len(files) > limit, elsewhere=own.elsewhere)
    if kind == ARTIFACTS:
        return _artifacts(uow, run.artifact_location, kind, rest, limit)
    if kind == MODELS and rest:
        model, _, inside = rest.partition("/")
        return _artifacts(uow, _model(uow, run, model).artifact_location, f"{kind}/{model}", inside, limit)
    if kind == OUTS and rest:
        below = [out for out in _outs(uow, run) if out.path.startswith(f"{path}/")]
        if below:
            return _cut(below, limit)
        return _cut(_in_tree(_tree_files(uow, blobs, run, rest), rest), limit)
    return _cut({MODELS: _models, OUTS: _outs}[kind](uow, run) if kind in (MODELS, OUTS) else (), limit)


def find_run_file(uow: UnitOfWork, blobs: BlobStore, run: Run, path: str) -> RunFile | None:
    """Find a file of a run by path; None when there is none, or a folder."""
    path = clean_path(path)
    kind, _, rest = path.partition("/")
    if kind == OUTS and rest:
        if any(out.path.startswith(f"{path}/") for out in _outs(uow, run)):
            return None
        found = _tree_files(uow, blobs, run, rest).get(rest)
        return _file(path, found.digest, found.size_bytes) if found else None
    location = run.artifact_location
    if kind == MODELS:
        model, _, rest = rest.partition("/")
        location = _model(uow, run, model).artifact_location
    place = artifact_path(location, rest) if kind in (ARTIFACTS, MODELS) and rest else ""
    folder, _, name = place.rpartition("/")
    artifact = uow.get(Artifact, folder, name) if place else None
    return _file(path, artifact.digest, artifact.size_bytes) if artifact else None


def _file(path: str, digest: str, size_bytes: int) -> RunFile:
    return RunFile(path=path, title=path.rpartition("/")[2], digest=digest, size_bytes=size_bytes)


def _artifacts(uow: UnitOfWork, location: str, base: str, inside: str, limit: int) -> Listing:
    root = artifact_path(location)
    if not root:
        return Listing(files=(), elsewhere=location)
    entries = entries_in(uow, artifact_path(location, inside), limit=limit + 1)
    files = [
        RunFile(
            path=f"{base}{entry.path[len(root) :]}",
            title=entry.path.rpartition("/")[2],
            size_bytes=entry.size_bytes,
            folder=entry.size_bytes is None,
        )
        for entry in entries
    ]
    return _cut(files, limit)


def _cut(files: Iterable[RunFile], limit: int) -> Listing:
    found = sorted(files, key=lambda file: (not file.folder, file.title))
    return Listing(files=tuple(found[:limit]), more=len(found) > limit)


def _models(uow: UnitOfWork, run: Run) -> list[RunFile]:
    found = uow.find(LoggedModel, run=run.id, deleted_at=None, order="created_at")
    return [RunFile(path=f"{MODELS}/{model.id}", title=f"{model.name} (model)", folder=True) for model in found]


def _model(uow: UnitOfWork, run: Run, model_id: str) -> LoggedModel:
    model = uow.get(LoggedModel, model_id)
    if model is None or model.run != run.id:
        raise NotFound(f"run {run.name} has logged no model {model_id!r}")
    return model


def _outs(uow: UnitOfWork, run: Run) -> list[RunFile]:
    steps = uow.find(StepRun, run=run.id, order="position")
    return [
        RunFile(path=f"{OUTS}/{out}", title=f"{out} (out of {step.step})", folder=True)
        for step in steps
        for out in step.outs
    ]


def _tree_files(uow: UnitOfWork, blobs: BlobStore, run: Run, path: str) -> dict[str, TreeFile]:
    """Give the files of the out that a path leads into, by their whole path. A file's tree has that one file."""
    for step in uow.find(StepRun, run=run.id):
        for out, digest in step.outs.items():
            if path == out or path.startswith(f"{out}/"):
                files = blobs.tree(digest).files
                name = out.rpartition("/")[2]
                return {out: files[name]} if list(files) == [name] else {f"{out}/{p}": f for p, f in files.items()}
    raise NotFound(f"no step of run {run.name} has written {path!r}")


def _in_tree(files: dict[str, TreeFile], folder: str) -> list[RunFile]:
    found: dict[str, RunFile] = {}
    for path, file in files.items():
        if not path.startswith(f"{folder}/"):
            continue
        name, deeper, _ = path[len(folder) + 1 :].partition("/")
        found[name] = RunFile(
            path=f"{OUTS}/{folder}/{name}",
            title=name,
            digest="" if deeper else file.digest,
            size_bytes=None if deeper else file.size_bytes,
            folder=bool(deeper),
        )
    return list(found.values())
