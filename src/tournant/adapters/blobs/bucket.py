"""A folder or a bucket as a flat store of named objects, over obstore; every request is counted."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import HTTPStore, LocalStore, from_url

from tournant.adapters.blobs.files import copy_durably
from tournant.errors import Denied, Invalid, Unavailable

__all__ = ["Bucket", "Listed", "open_bucket"]

_SCHEMES = ("s3", "gs", "az", "abfs", "abfss", "azure", "adl", "gcs", "s3a", "file", "memory")
_RETRY: Any = {"max_retries": 3, "retry_timeout": timedelta(seconds=20)}
_RANGE_GAP_BYTES = 1024 * 1024  # reading so much for nothing is cheaper than another request


class Listed(NamedTuple):
    """An object in a listing; `modified` in seconds of the store's own clock."""

    name: str
    size: int
    modified: float
    tag: str = ""


class Bucket:
    """Named objects under one address."""

    def __init__(self, url: str, store: Any, folder: Path | None = None) -> None:
        """Use an obstore store; `folder` is where it is on this machine, if it is."""
        self.url = url
        self.requests = 0
        self._store = store
        self._folder = folder

    def get(self, name: str) -> bytes | None:
        """Read an object, or None if there is none."""
        try:
            with self._asking():
                return bytes(obstore.get(self._store, name).bytes())
        except FileNotFoundError:
            return None

    def head(self, name: str) -> Listed | None:
        """Describe an object, or None if there is none."""
        if self._folder and (self._folder / name).is_dir():
            return None
        try:
            with self._asking():
                meta = obstore.head(self._store, name)
        except FileNotFoundError:
            return None
        return Listed(name, meta["size"], meta["last_modified"].timestamp(), meta.get("e_tag") or "")

    def get_ranges(self, name: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Read (offset, length) parts of an object; FileNotFoundError if there is none."""
        self.requests += len(ranges) - 1
        with self._asking():
            starts, lengths = [start for start, _ in ranges], [length for _, length in ranges]
            return [bytes(part) for part in obstore.get_ranges(self._store, name, starts=starts, lengths=lengths)]

    def download(self, name: str, target: Path) -> None:
        """Read an object into a new file; FileNotFoundError if there is none."""
        if self._folder:
            self.requests += 1
            copy_durably(self._folder / name, target)
            return
        with self._asking(), target.open("xb") as file:
            for block in obstore.get(self._store, name).stream(min_chunk_size=1024 * 1024):
                file.write(block)

    def resume(self, name: str, target: Path) -> None:
        """Read the rest of an object into a file that may have its beginning; FileNotFoundError if there is no object."""
        if self._folder:
            target.unlink(missing_ok=True)
            return self.download(name, target)
        begun = target.stat().st_size if target.exists() else 0
        if begun:
            try:
                return self._append(name, target, begun)
            except Unavailable:  # it may only be that the server does not know of parts
                pass
        return self._append(name, target, 0)

    def _append(self, name: str, target: Path, begin: int) -> None:
        options: Any = {"range": {"offset": begin}} if begin else {}
        with self._asking():
            found = obstore.get(self._store, name, options=options)
            with target.open("ab" if begin else "wb") as file:
                for block in found.stream(min_chunk_size=1024 * 1024):
                    file.write(block)

    def put(self, name: str, content: bytes) -> None:
        """Write an object."""
        with self._asking():
            obstore.put(self._store, name, content, use_multipart=False)

    def create(self, name: str, content: bytes) -> bool:
        """Write an object unless there is one of that name (a conditional put); tell whether it was written."""
        try:
            with self._asking():
                obstore.put(self._store, name, content, mode="create", use_multipart=False)
        except FileExistsError:
            return False
        return True

    def upload(self, name: str, source: Path) -> None:
        """Write a file's content as an object."""
        if self._folder:
            self.requests += 1
            target = self._folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            with self._asking():
                copy_durably(source, target)
            return
        with self._asking(), source.open("rb") as file:
            obstore.put(self._store, name, file, use_multipart=False)

    def blocks(self, name: str) -> Iterator[bytes]:
        """Give an object's content block by block; FileNotFoundError if there is none."""
        with self._asking():
            for block in obstore.get(self._store, name).stream(min_chunk_size=1024 * 1024):
                yield bytes(block)

    def list(self, prefix: str, *, hidden: bool = False) -> Iterator[Listed]:
        """Give the objects under a folder-like prefix, by their whole names; those whose name begins with a dot if `hidden`."""
        if self.url.startswith(("http://", "https://")):
            return  # a web server lists nothing
        with self._asking():
            pages = list(obstore.list(self._store, prefix, chunk_size=1000))
        self.requests += max(0, len(pages) - 1)
        for page in pages:
            for meta in page:
                if hidden or not meta["path"].rpartition("/")[2].startswith("."):
                    yield Listed(meta["path"], meta["size"], meta["last_modified"].timestamp(), meta.get("e_tag") or "")

    def delete(self, names: Sequence[str]) -> None:
        """Remove objects; those that are gone already are no error."""
        for name in names:
            try:
                with self._asking():
                    obstore.delete(self._store, name)
            except FileNotFoundError:
                continue

    @contextmanager
    def _asking(self) -> Iterator[None]:
        self.requests += 1
        try:
            yield
        except FileNotFoundError:
            raise
        except (AlreadyExistsError, FileExistsError) as exc:
            raise FileExistsError(str(exc)) from exc
        except (PermissionDeniedError, UnauthenticatedError) as exc:
            raise Denied(f"{self.url} refuses us: {_short(exc)}. Check the credentials in the environment") from exc
        except (BaseError, OSError) as exc:
            raise Unavailable(
                f"{self.url} cannot be reached: {_short(exc)}. Nothing half-done counts there; do it again once it answers"
            ) from exc


def _short(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:300]


def open_bucket(url: str, environ: Mapping[str, str], *, create: bool = True) -> Bucket:
    """Open a folder (`/mnt/share`, `file:///mnt/share`) or bucket (`s3://`, `gs://`, `az://`); credentials from `environ`.

    Invalid for an address that is neither.
    """
    scheme, separator, rest = url.partition("://")
    if not separator or scheme == "file":
        folder = Path(rest if separator else url).expanduser().absolute()
        if not create and not folder.is_dir():
            raise Unavailable(f"there is no folder {folder}: is the disk or share mounted?")
        try:
            return Bucket(str(folder), LocalStore(folder, mkdir=create), folder)
        except OSError as exc:
            raise Unavailable(f"the folder {folder} cannot be used: {exc.strerror or exc}") from exc
    if scheme in ("http", "https"):
        options: Any = {"allow_http": True}
        return Bucket(url, HTTPStore.from_url(url, client_options=options, retry_config=_RETRY))
    if scheme not in _SCHEMES:
        raise Invalid(f"{url!r} is no address of a remote: a folder, s3://BUCKET/…, gs://BUCKET/… or az://CONTAINER/…")
    insecure = environ.get("AWS_ENDPOINT_URL", environ.get("AWS_ENDPOINT", "")).startswith("http://")
    options = {"allow_http": True} if insecure else {}
    try:
        return Bucket(url, from_url(url, client_options=options, retry_config=_RETRY))
    except BaseError as exc:
        raise Invalid(f"the remote {url} cannot be used: {_short(exc)}") from exc
