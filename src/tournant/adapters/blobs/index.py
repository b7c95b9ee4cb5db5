"""Which pack has which object: an SQLite file that can be rebuilt from the packs' own indexes."""

import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tournant.adapters.blobs.pack import Entry, read_entries
from tournant.errors import Damaged

__all__ = ["ObjectIndex", "PackUse", "Place"]

_TABLES = """
CREATE TABLE IF NOT EXISTS pack (id INTEGER PRIMARY KEY, name TEXT UNIQUE NOT NULL, size INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS object (
    key BLOB PRIMARY KEY, pack INTEGER NOT NULL, kind INTEGER, codec INTEGER, offset INTEGER, stored INTEGER, size INTEGER
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS root (key BLOB PRIMARY KEY, at REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS state (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
INSERT OR IGNORE INTO state VALUES ('generation', hex(randomblob(8)));
"""
_PARAMETERS = 500


class Place(NamedTuple):
    """Where an object is."""

    pack: str
    entry: Entry


class PackUse(NamedTuple):
    """A pack, and how much of it is still pointed at."""

    name: str
    size_bytes: int
    objects: int
    stored_bytes: int


class ObjectIndex:
    """The objects of one folder of packs. Opened when first used; a connection for each thread."""

    def __init__(self, path: Path, packs: Path) -> None:
        """Keep the index of the pack files in `packs` at `path`."""
        self._path = path
        self._packs = packs
        self._local = threading.local()

    @property
    def connection(self) -> sqlite3.Connection:
        """The connection of this thread."""
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = self._open()
            self.reconcile()
        return connection

    def _open(self) -> sqlite3.Connection:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self._path, timeout=60, isolation_level=None)
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "cache_size=-65536", "mmap_size=268435456"):
            connection.execute(f"PRAGMA {pragma}")
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'state' AND type = 'table'").fetchone():
            connection.executescript(_TABLES)
        return connection

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Change several things at once."""
        connection = self.connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")

    def reconcile(self) -> None:
        """Take in packs that are there and not known (a writer was killed), and forget those that are gone."""
        there = {path.stem: path for path in self._packs.glob("*.pack")} if self._packs.is_dir() else {}
        known = {name for (name,) in self.connection.execute("SELECT name FROM pack")}
        for name in there.keys() - known:
            try:
                self.add_pack(name, there[name].stat().st_size, read_entries(there[name]))
            except (Damaged, FileNotFoundError):
                continue  # fsck tells of it; a garbage collection may have taken it meanwhile
        gone = [name for name in known - there.keys() if not (self._packs / f"{name}.pack").exists()]
        if gone:
            self.forget_packs(gone)

    def add_pack(self, name: str, size_bytes: int, entries: Iterable[Entry]) -> None:
        """Make a finished pack's objects findable there."""
        with self.transaction() as connection:
            connection.execute("INSERT OR IGNORE INTO pack (name, size) VALUES (?, ?)", (name, size_bytes))
            (number,) = connection.execute("SELECT id FROM pack WHERE name = ?", (name,)).fetchone()
            connection.executemany(
                "INSERT OR REPLACE INTO object VALUES (?, ?, ?, ?, ?, ?, ?)",
                [(e.key, number, e.kind, e.codec, e.offset, e.stored, e.size) for e in sorted(entries)],
            )

    def forget_packs(self, names: Sequence[str]) -> None:
        """Drop packs and the objects that were found in them; what stat indexes knew to be here no longer holds."""
        with self.transaction() as connection:
            for name in names:
                row = connection.execute("SELECT id FROM pack WHERE name = ?", (name,)).fetchone()
                if row:
                    connection.execute("DELETE FROM object WHERE pack = ?", row)
                    connection.execute("DELETE FROM pack WHERE id = ?", row)
            self._next_generation(connection)

    def forget_objects(self, keys: Iterable[bytes]) -> None:
        """Drop objects that nothing reaches."""
        with self.transaction() as connection:
            connection.executemany("DELETE FROM object WHERE key = ?", ((key,) for key in keys))
            self._next_generation(connection)

    def find(self, key: bytes) -> Place | None:
        """Say where an object is."""
        return self.find_many((key,)).get(key)

    def find_many(self, keys: Iterable[bytes]) -> dict[bytes, Place]:
        """Say where objects are; those that are not here are left out."""
        found: dict[bytes, Place] = {}
        wanted, names, connection = list(keys), self._names(), self.connection
        for start in range(0, len(wanted), _PARAMETERS):
            part = wanted[start : start + _PARAMETERS]
            query = f"SELECT pack, key, kind, codec, offset, stored, size FROM object WHERE key IN ({'?,' * (len(part) - 1)}?)"
            for number, *fields in connection.execute(query, part):
                name = names.get(number)
                if name is None:  # another process has added the pack meanwhile
                    names = self._names()
                    name = names[number]
                entry = Entry(*fields)
                found[entry.key] = Place(name, entry)
        return found

    def missing(self, keys: Sequence[bytes]) -> set[bytes]:
        """Give those of `keys` that are not here."""
        absent = set(keys)
        wanted, connection = list(absent), self.connection
        for start in range(0, len(wanted), _PARAMETERS):
            part = wanted[start : start + _PARAMETERS]
            query = f"SELECT key FROM object WHERE key IN ({'?,' * (len(part) - 1)}?)"
            absent.difference_update(key for (key,) in connection.execute(query, part))
        return absent

    def _names(self) -> dict[int, str]:
        return dict(self.connection.execute("SELECT id, name FROM pack"))

    def digests(self) -> Iterator[bytes]:
        """Give every object's key."""
        for (key,) in self.connection.execute("SELECT key FROM object"):
            yield key

    def sizes(self) -> Iterator[tuple[bytes, int]]:
        """Give every object's key and stored bytes."""
        yield from self.connection.execute("SELECT key, stored FROM object")

    def packs(self) -> list[PackUse]:
        """Say how much of each pack is in use."""
        query = (
            "SELECT name, pack.size, count(object.key), coalesce(sum(stored), 0) FROM pack LEFT JOIN object ON object.pack = pack.id "
            "GROUP BY pack.id ORDER BY name"
        )
        return [PackUse(*row) for row in self.connection.execute(query)]

    def entries_of(self, name: str) -> list[Entry]:
        """Give the objects that are found in a pack, in the order they stand there."""
        query = (
            "SELECT key, kind, codec, offset, stored, object.size FROM object JOIN pack ON pack.id = object.pack "
            "WHERE name = ? ORDER BY offset"
        )
        return [Entry(*row) for row in self.connection.execute(query, (name,))]

    def hold(self, key: bytes) -> None:
        """Protect what `key` reaches from garbage collection for a while: nobody refers to it yet."""
        self.connection.execute("INSERT OR REPLACE INTO root VALUES (?, ?)", (key, time.time()))

    def held(self, *, since: float) -> list[bytes]:
        """Give what was held since a time; what was held before is let go."""
        self.connection.execute("DELETE FROM root WHERE at < ?", (since,))
        return [key for (key,) in self.connection.execute("SELECT key FROM root")]

    def generation(self) -> str:
        """Give a word that changes whenever an object may have gone."""
        return str(self.connection.execute("SELECT value FROM state WHERE name = 'generation'").fetchone()[0])

    @staticmethod
    def _next_generation(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT OR REPLACE INTO state VALUES ('generation', hex(randomblob(8)))")
