"""Remembers which digest a file had, by what the file system says of it, so that unchanged files are not read again."""

import os
import sqlite3
import threading
import time
from pathlib import Path

__all__ = ["StatCache"]

# A file this young may change again within the clock's resolution, so it is not remembered (git calls it "racily clean").
RACY_NS = 10_000_000


class StatCache:
    """Digest by (path, size, modification time, inode). Losing it costs only time."""

    def __init__(self, path: Path) -> None:
        """Keep it in an SQLite file, opened when first needed."""
        self._path = path
        self._local = threading.local()

    def get(self, file: Path, stat: os.stat_result) -> str | None:
        """Give the digest of a file that looks unchanged."""
        query = "SELECT digest FROM stat WHERE path = ? AND size = ? AND mtime = ? AND inode = ?"
        row = self._connection().execute(query, (str(file.absolute()), *_key(stat))).fetchone()
        return row[0] if row else None

    def set(self, file: Path, stat: os.stat_result, digest: str) -> None:
        """Remember a file's digest."""
        if time.time_ns() - stat.st_mtime_ns < RACY_NS:
            return
        connection = self._connection()
        connection.execute(
            "INSERT OR REPLACE INTO stat VALUES (?, ?, ?, ?, ?)", (str(file.absolute()), *_key(stat), digest)
        )

    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(self._path, timeout=30, isolation_level=None)
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=OFF")
            connection.execute(
                "CREATE TABLE IF NOT EXISTS stat (path TEXT PRIMARY KEY, size INTEGER, mtime INTEGER, inode INTEGER, digest TEXT)"
            )
            self._local.connection = connection
        return connection


def _key(stat: os.stat_result) -> tuple[int, int, int]:
    return stat.st_size, stat.st_mtime_ns, stat.st_ino
