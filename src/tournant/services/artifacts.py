"""Artifacts: files of runs, logged models and model versions, kept in the content store and found by path.

Two files with the same content are stored once. A path is relative, and leads nowhere else.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import copyfileobj
from typing import BinaryIO
from urllib.parse import urlsplit

from tournant.domain.logged_models import Artifact
from tournant.errors import Conflict, Invalid, NotFound
from tournant.ports import UnitOfWork
from tournant.services.context import Context

__all__ = [
    "SCHEME",
    "ArtifactEntry",
    "artifact_path",
    "copy_artifacts",
    "delete_artifacts",
    "entries_in",
    "find_artifacts",
    "get_artifact",
    "list_artifacts",
    "put_artifact",
    "remove_artifacts",
    "write_artifacts",
]

SCHEME = "mlflow-artifacts"
_LONGEST_PATH = 1000
_LAST = "\U0010ffff"  # no text sorts after it


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactEntry:
    """What stands in a folder: a file, or a folder (then without a size)."""

    path: str
    size_bytes: int | None = None


def artifact_path(location: str, path: str = "") -> str:
    """Give the path of a location such as `mlflow-artifacts:/1/RUN/artifacts`; empty when its files are not kept here."""
    parts = urlsplit(location)
    if parts.scheme != SCHEME:
        return ""
    return "/".join(filter(None, (clean_path(parts.path.strip("/")), clean_path(path))))


def clean_path(path: str) -> str:
    """Give a path without needless slashes; Invalid when it would lead out of its place."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if path.startswith(("/", "\\")) or ".." in parts or "\\" in path or any(ord(c) < 32 for c in path):
        raise Invalid(f"Invalid path: {path!r} leads out of its place; use a relative path without '..' and '\\'")
    if len(path) > _LONGEST_PATH:
        raise Invalid(f"Invalid path: it has {len(path)} characters; {_LONGEST_PATH} are the most")
    return "/".join(parts)


def put_artifact(ctx: Context, path: str, content: BinaryIO, *, size_bytes: int | None = None) -> Artifact:
    """Store a file at a path, in place of what stands there."""
    folder, _, name = clean_path(path).rpartition("/")
    if not name:
        raise Invalid("Invalid path: it names no file")
    counted = _Counted(content)
    digest = ctx.blobs.put(counted)  # type: ignore[arg-type] # it reads, which is all a store asks
    if size_bytes is not None and counted.size_bytes != size_bytes:
        raise Invalid(
            f"the upload of {path!r} broke off: {counted.size_bytes} of {size_bytes} bytes came. Send it again"
        )
    artifact = Artifact(
        folder=folder, name=name, digest=digest, size_bytes=counted.size_bytes, written_at=ctx.clock.now()
    )
    with ctx.transactions.begin() as uow:
        if uow.get(Artifact, *_split(folder)) is not None or _inside(uow, artifact.path, limit=1):
            raise Conflict(f"{path!r} cannot be stored: a file stands where a folder is, or a folder where a file is")
        uow.save(artifact)
    return artifact


class _Counted:
    def __init__(self, content: BinaryIO) -> None:
        self._content = content
        self.size_bytes = 0

    def read(self, size: int = -1) -> bytes:
        chunk = self._content.read(size)
        self.size_bytes += len(chunk)
        return chunk


def get_artifact(ctx: Context, path: str) -> Artifact:
    """Find a file by path."""
    with ctx.transactions.begin(write=False) as uow:
        found = uow.get(Artifact, *_split(clean_path(path)))
    if found is None:
        raise NotFound(f"No such artifact: '{path}'")
    return found


def list_artifacts(ctx: Context, path: str) -> list[ArtifactEntry]:
    """List the files and folders in a folder by name; nothing when there is no such folder."""
    with ctx.transactions.begin(write=False) as uow:
        return entries_in(uow, path)


def entries_in(uow: UnitOfWork, path: str, *, limit: int | None = None) -> list[ArtifactEntry]:
    """List what stands in a folder by name: files and folders, of each `limit` at most."""
    folder = clean_path(path)
    prefix = f"{folder}/" if folder else ""
    entries = [
        ArtifactEntry(path=found.path, size_bytes=found.size_bytes)
        for found in uow.find(Artifact, folder=folder, order="name", limit=limit)
    ]
    below, most = prefix, None if limit is None else len(entries) + limit
    while found := uow.find(Artifact, folder__gt=below, folder__lt=prefix + _LAST, order="folder", limit=1):
        if most is not None and len(entries) >= most:
            break
        name, deeper, _ = found[0].folder[len(prefix) :].partition("/")
        entries.append(ArtifactEntry(path=prefix + name))
        below = f"{prefix}{name}/{_LAST}" if deeper else prefix + name  # what is deeper is passed at once
    unique = {entry.path: entry for entry in entries}
    return [unique[path] for path in sorted(unique)]


def find_artifacts(ctx: Context, path: str) -> list[Artifact]:
    """Find every file at or below a path."""
    place = clean_path(path)
    with ctx.transactions.begin(write=False) as uow:
        itself = uow.get(Artifact, *_split(place))
        return [itself] if itself else _inside(uow, place)


def delete_artifacts(ctx: Context, path: str) -> int:
    """Delete a file, or a folder with all that is in it; give how many files. Their content goes with the next purge."""
    place = clean_path(path)
    if not place:
        raise Invalid("Invalid path: name the file or folder to delete")
    with ctx.transactions.begin() as uow:
        return remove_artifacts(uow, place)


def remove_artifacts(uow: UnitOfWork, place: str) -> int:
    """Do so in the caller's transaction."""
    folder, name = _split(place)
    count = uow.remove(Artifact, folder=folder, name=name)
    count += uow.remove(Artifact, folder=place)
    return count + uow.remove(Artifact, folder__gt=f"{place}/", folder__lt=f"{place}/{_LAST}")


def copy_artifacts(ctx: Context, uow: UnitOfWork, source: str, target: str) -> int:
    """Let the files below one path stand below another too, as they are now; give how many."""
    now = ctx.clock.now()
    copies = [
        Artifact(
            folder=f"{target}{found.folder[len(source) :]}",
            name=found.name,
            digest=found.digest,
            size_bytes=found.size_bytes,
            written_at=now,
        )
        for found in _inside(uow, source)
    ]
    if copies:
        uow.save(*copies)
    return len(copies)


def write_artifacts(ctx: Context, artifacts: Sequence[Artifact], base: str, target: Path) -> None:
    """Write files, which stand below the path `base`, to a folder."""
    for artifact in artifacts:
        path = target / artifact.path[len(base) :].lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        with ctx.blobs.open(artifact.digest) as content, path.open("wb") as file:
            copyfileobj(content, file, 1024 * 1024)


def _split(path: str) -> tuple[str, str]:
    folder, _, name = path.rpartition("/")
    return folder, name


def _inside(uow: UnitOfWork, folder: str, limit: int | None = None) -> list[Artifact]:
    if not folder:
        return uow.find(Artifact, order="folder,name", limit=limit)
    found = uow.find(Artifact, folder=folder, order="name", limit=limit)
    return found + uow.find(
        Artifact, folder__gt=f"{folder}/", folder__lt=f"{folder}/{_LAST}", order="folder,name", limit=limit
    )
