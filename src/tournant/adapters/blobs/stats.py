"""Remembers which digest a file had, by what the file system says of it, so that unchanged files are not read again."""

import sqlite3
import threading
import time
from collections.abc import Iterable
from pathlib import Path

import msgspec

from tournant.adapters.sqlite import write_ahead
from tournant.domain.data import Workspace

__all__ = ["FolderStats", "Stamp", "StatIndex"]

# A file this young may change again within the clock's resolution, so it is not remembered (git calls it "racily clean").
RACY_NS = 10_000_000
Stamp = tuple[int, int, int, bytes]  # size, modification time (ns), inode, digest
FolderStats = dict[str, Stamp]  # by name

_TABLES = """
CREATE TABLE IF NOT EXISTS folder (path TEXT PRIMARY KEY, generation TEXT NOT NULL, files BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS workspace (path TEXT PRIMARY KEY, dataset TEXT NOT NULL, version TEXT NOT NULL, digest TEXT NOT NULL)
    WITHOUT ROWID;
"""
_decode = msgspec.msgpack.Decoder(FolderStats).decode
_encode = msgspec.msgpack.Encoder().encode


class StatIndex:
    """Digests of the files of folders, and which dataset version each path was last; losing it costs only time.

    `generation` is the object index's word at the time: while it is the same, what a digest names is still in the store.
    """

    def __init__(self, path: Path) -> None:
        """Keep it in an SQLite file, opened when first needed."""
        self._path = path
        self._local = threading.local()

    def load(self, folder: str) -> tuple[FolderStats, str]:
        """Give what is known of a folder's files, and the generation then."""
        row = self._connection.execute("SELECT files, generation FROM folder WHERE path = ?", (folder,)).fetchone()
        return (_decode(row[0]), row[1]) if row else ({}, "")

    def save(self, folders: Iterable[tuple[str, FolderStats]], generation: str) -> None:
        """Remember folders' files; one with none is forgotten."""
        young = time.time_ns() - RACY_NS
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        for folder, stats in folders:
            old = {name: stamp for name, stamp in stats.items() if stamp[1] < young}
            connection.execute("INSERT OR REPLACE INTO folder VALUES (?, ?, ?)", (folder, generation, _encode(old)))
        connection.execute("COMMIT")

    def record(self, workspace: Workspace) -> None:
        """Remember which dataset version a path is."""
        row = (workspace.path, workspace.dataset, workspace.version, workspace.digest)
        self._connection.execute("INSERT OR REPLACE INTO workspace VALUES (?, ?, ?, ?)", row)

    def workspaces(self) -> list[Workspace]:
        """Give the paths that are dataset versions."""
        rows = self._connection.execute("SELECT path, dataset, version, digest FROM workspace ORDER BY path")
        return [Workspace(path=p, dataset=d, version=v, digest=g) for p, d, v, g in rows]

    @property
    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(self._path, timeout=30, isolation_level=None)
            write_ahead(connection)
            connection.execute("PRAGMA synchronous=NORMAL")
            connection.executescript(_TABLES)
            self._local.connection = connection
        return connection
