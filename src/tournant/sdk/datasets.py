"""Datasets in Python: `tournant.open_dataset("flights@3")`."""

from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, BinaryIO

from tournant.domain.data import DatasetVersion, Tree, TreeFile
from tournant.errors import Invalid, NotFound

if TYPE_CHECKING:
    import duckdb

    from tournant.ports import RemoteStore
    from tournant.services.context import DataContext

__all__ = ["OpenDataset", "open_dataset"]

_READERS = {".parquet": "read_parquet", ".csv": "read_csv", ".tsv": "read_csv", ".json": "read_json"}


def open_dataset(version: str, *, home: str | Path | None = None, remote: str = "") -> "OpenDataset":
    """Open a dataset version (`flights@3`, `flights@TAG`, or `flights` for the newest) of a home.

    What is not on this machine comes from the remote (by default the only one) when it is asked for. A version that this home
    does not know is looked for there too. NotFound if nobody has it.
    """
    from tournant.bootstrap.datasets import open_data_context
    from tournant.config import Settings
    from tournant.services.data import get_dataset_version
    from tournant.services.remotes import find_remote_version, get_remote, list_remotes

    ctx = open_data_context(Settings.load(home=home), actor="sdk")
    store = ctx.open_remote(get_remote(ctx, remote)) if remote or len(list_remotes(ctx)) == 1 else None
    try:
        found = get_dataset_version(ctx, version)
    except NotFound:
        found = find_remote_version(store, version) if store else None  # type: ignore[assignment]
        if found is None:
            raise
    return OpenDataset(ctx, found, store)


class OpenDataset:
    """The files of one dataset version, as paths, bytes or a table.

    >>> flights = open_dataset("flights@3")  # doctest: +SKIP
    >>> flights.table().df()  # doctest: +SKIP
    """

    def __init__(self, ctx: "DataContext", version: DatasetVersion, remote: "RemoteStore | None") -> None:
        """Read `version` from the home's content store, and what that lacks from `remote`."""
        self._ctx = ctx
        self._remote = remote
        self.version = version
        self._tree = self._read_tree()

    def _read_tree(self) -> Tree:
        try:
            return self._ctx.blobs.tree(self.version.digest)
        except NotFound:
            if self._remote is None:
                raise
        return self._remote.tree(self.version.digest)

    @property
    def files(self) -> tuple[str, ...]:
        """The names of all files, with folders before them."""
        return tuple(self._tree.files)

    def open(self, name: str = "") -> BinaryIO:
        """Open a file (of a dataset of one file, that one) for reading and seeking; only what is read is fetched."""
        file = self._file(name)
        try:
            return self._ctx.blobs.open(file.digest)
        except NotFound:
            if self._remote is None:
                raise
        return self._remote.open(file.digest)

    def read_bytes(self, name: str = "") -> bytes:
        """Read a file."""
        with self.open(name) as stream:
            return stream.read()

    def path(self, name: str = "") -> Path:
        """Give a local read-only file with a file's content, fetched whole if need be. Its name is the content's digest."""
        file = self._file(name)
        try:
            return self._ctx.blobs.path(file.digest)
        except NotFound:
            if self._remote is None:
                raise
        self._remote.fetch(self.version.digest, under=name or self.files[0])
        return self._ctx.blobs.path(file.digest)

    def table(self, name: str = "") -> "duckdb.DuckDBPyRelation":
        """Give a table file, or all of a folder (by default of the whole dataset), as one DuckDB relation.

        `.df()` makes it a pandas frame, `.arrow()` an Arrow table, `.pl()` a Polars frame, where those are installed. Files
        in a folder have to be of one kind: Parquet, CSV or JSON.
        """
        import duckdb

        inside = f"{name}/" if name else ""
        names = [file for file in self.files if file == name or file.startswith(inside)]
        kinds = {PurePosixPath(file).suffix.lower() for file in names if not PurePosixPath(file).name.startswith(".")}
        if len(kinds) != 1 or not kinds <= _READERS.keys():
            found = ", ".join(sorted(kinds)) or "no file"
            raise Invalid(
                f"{self.version.id} is no table: files of one kind are needed ({', '.join(_READERS)}), not {found}"
            )
        paths = [str(self.path(file)) for file in names if not PurePosixPath(file).name.startswith(".")]
        connection = duckdb.connect()
        relation: duckdb.DuckDBPyRelation = getattr(connection, _READERS[kinds.pop()])(paths)
        return relation

    def _file(self, name: str) -> TreeFile:
        if not name and len(self._tree.files) == 1:
            return next(iter(self._tree.files.values()))
        if name in self._tree.files:
            return self._tree.files[name]
        some = ", ".join(self.files[:5])
        raise NotFound(
            f"{self.version.id} has no file {name!r} (it has {len(self.files):,}: {some}{', …' * (len(self.files) > 5)})"
        )
