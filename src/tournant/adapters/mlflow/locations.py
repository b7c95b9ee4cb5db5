"""Files at the addresses that MLflow writes down: folders of this machine, and buckets."""

import os
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO, NoReturn, TypeVar, cast
from urllib.parse import unquote, urlsplit

from tournant.adapters.blobs.bucket import Bucket, open_bucket
from tournant.errors import Denied, Invalid, NotFound, TournantError, Unavailable
from tournant.ports import Place, SourceFile

__all__ = ["BlockReader", "Locations"]

T = TypeVar("T")
_BUCKETS = ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "wasbs")
_STORES = ("mlruns", "mlartifacts")  # how MLflow calls the folder of a store by default
_BLOCK_BYTES = 1024 * 1024
_LEVELS = 4  # from a run's artifacts up to what holds the store: STORE/EXPERIMENT/RUN/artifacts


class BlockReader:
    """Reads blocks as they come; `read(n)` gives at most n bytes, and nothing at the end."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        """Read `blocks`."""
        self._blocks = blocks
        self._rest = memoryview(b"")

    def read(self, size: int = -1) -> bytes:
        """Give the next bytes."""
        if size < 0:
            return b"".join([bytes(self._rest), *self._blocks])
        while not self._rest:
            block = next(self._blocks, None)
            if block is None:
                return b""
            self._rest = memoryview(block)
        taken, self._rest = bytes(self._rest[:size]), self._rest[size:]
        return taken


class Locations:
    """Lists and opens what stands at addresses; a bucket that has refused once is not asked again."""

    def __init__(self, environ: Mapping[str, str], *, base: Path, artifacts: str = "") -> None:
        """Take relative paths from `base`, and `mlflow-artifacts:` addresses for what is below `artifacts`."""
        self._environ = environ
        self._base = base
        self._artifacts = artifacts or (str(base / "mlartifacts") if (base / "mlartifacts").is_dir() else "")
        self._buckets: dict[str, Bucket] = {}
        self._refused: dict[str, TournantError] = {}

    def list(self, place: Place) -> list[SourceFile]:
        """List all files at an address."""
        uri = self._direct(place.uri)
        if urlsplit(uri).scheme in _BUCKETS:
            root, prefix = _split(uri)
            found = self._ask(root, lambda bucket: list(bucket.list(prefix, hidden=True)))
            inside = [(item.name.removeprefix(prefix).lstrip("/"), item.size) for item in found]
            return [SourceFile(path=path, size_bytes=size) for path, size in inside if path]
        folder = self._folder(uri)
        if folder is None:
            return []
        with _explained(folder):
            return sorted(_walk(folder), key=lambda file: file.path)

    @contextmanager
    def open(self, place: Place, path: str) -> Iterator[BinaryIO]:
        """Open a file at an address."""
        uri = self._direct(place.uri)
        if urlsplit(uri).scheme in _BUCKETS:
            root, prefix = _split(uri)
            blocks = self._ask(root, lambda bucket: bucket.blocks("/".join(filter(None, (prefix, path)))))
            yield cast("BinaryIO", BlockReader(_told(blocks, f"{uri}/{path}")))
            return
        with closing(_read((self._folder(uri) or Path(uri)) / path)) as blocks:
            yield cast("BinaryIO", BlockReader(blocks))

    def _direct(self, uri: str) -> str:
        """Give an address that leads to files by itself."""
        parts = urlsplit(uri)
        if parts.scheme != "mlflow-artifacts":
            return uri
        if not self._artifacts:
            raise NotFound(
                "the files went through MLflow's server: import from its URL, or say with --artifacts where it keeps them "
                "(its --artifacts-destination)"
            )
        return f"{self._artifacts.rstrip('/')}/{parts.path.strip('/')}"

    def _folder(self, uri: str) -> Path | None:
        """Give the folder of an address; None when its store is here and nothing was ever put at the address."""
        parts = urlsplit(uri)
        if parts.scheme not in ("", "file"):
            _refuse(parts.scheme, uri)
        said = self._base / Path(unquote(parts.path) if parts.scheme else uri)
        moved = [self._base.joinpath(*_from(said, store)) for store in _STORES if store in said.parts]
        for folder in (said, *moved):
            if folder.is_dir():
                return folder
        if any(len(above.parts) > 1 and above.is_dir() for above in said.parents[:_LEVELS]):
            return None
        raise NotFound(f"there is no folder {said.parent.parent.parent} on this machine")

    def _ask(self, root: str, question: Callable[[Bucket], T]) -> T:
        if root in self._refused:
            raise self._refused[root]
        try:
            if root not in self._buckets:
                self._buckets[root] = open_bucket(root, self._environ)
            return question(self._buckets[root])
        except (Denied, Invalid, Unavailable) as exc:
            self._refused[root] = exc
            raise
        except FileNotFoundError as exc:
            raise NotFound(f"there is nothing like it in {root}") from exc


def _split(uri: str) -> tuple[str, str]:
    """Give a bucket and the path in it.

    >>> _split("s3://models/mlflow/1/r/artifacts"), _split("wasbs://c@acc.blob.core.windows.net/p")
    (('s3://models', 'mlflow/1/r/artifacts'), ('abfss://c@acc.dfs.core.windows.net', 'p'))
    """
    parts = urlsplit(uri)
    scheme, host = parts.scheme, parts.netloc
    if scheme == "wasbs":
        scheme, host = "abfss", host.replace(".blob.", ".dfs.")
    return f"{scheme}://{host}", parts.path.strip("/")


def _from(path: Path, store: str) -> tuple[str, ...]:
    """Give the end of a path from the last folder called `store` on."""
    last = len(path.parts) - 1 - path.parts[::-1].index(store)
    return path.parts[last:]


def _walk(folder: Path) -> Iterator[SourceFile]:
    for place, _, names in os.walk(folder, onerror=_raise):
        for name in names:
            file = Path(place) / name
            if file.is_file():
                yield SourceFile(
                    path=PurePosixPath(file.relative_to(folder)).as_posix(), size_bytes=file.stat().st_size
                )


def _read(file: Path) -> Generator[bytes, None, None]:
    with _explained(file), file.open("rb") as content:
        while block := content.read(_BLOCK_BYTES):
            yield block


def _told(blocks: Iterator[bytes], name: str) -> Iterator[bytes]:
    try:
        yield from blocks
    except FileNotFoundError as exc:
        raise NotFound(f"there is nothing at {name}") from exc


def _raise(error: OSError) -> NoReturn:
    raise error


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as exc:
        raise NotFound(f"there is no file {path}") from exc
    except OSError as exc:
        raise Unavailable(f"{path} cannot be read: {exc.strerror or exc}") from exc


def _refuse(scheme: str, uri: str) -> NoReturn:
    if scheme in ("models", "runs"):
        raise NotFound(f"{uri} leads to nothing that was brought")
    raise Invalid(f"tournant does not read {scheme}: addresses; copy the files to a folder or a bucket that it reads")
