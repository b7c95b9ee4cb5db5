"""Which pack has which object: an SQLite file that can be rebuilt from the packs' own indexes."""

import contextlib
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, Protocol

from tournant.adapters.blobs.pack import Entry, read_entries
from tournant.adapters.sqlite import create_tables, write_ahead
from tournant.errors import Damaged

__all__ = ["ObjectIndex", "PackFolder", "PackUse", "Packs", "Place"]

_TABLES = """
CREATE TABLE IF NOT EXISTS pack (id INTEGER PRIMARY KEY, name TEXT UNIQUE NOT NULL, size INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS object (
    key BLOB NOT NULL, pack INTEGER NOT NULL, kind INTEGER, codec INTEGER, offset INTEGER, stored INTEGER, size INTEGER,
    PRIMARY KEY (key, pack)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS object_pack ON object (pack);
CREATE TABLE IF NOT EXISTS root (key BLOB PRIMARY KEY, at REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS part (key BLOB PRIMARY KEY) WITHOUT ROWID;
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


class Packs(Protocol):
    """Where packs are."""

    def sizes(self) -> Mapping[str, int]:
        """Give the size of each pack that is there."""
        ...

    def entries(self, name: str) -> list[Entry]:
        """Read a pack's index; FileNotFoundError or Damaged if that cannot be."""
        ...


class PackFolder:
    """Packs as files in a folder."""

    def __init__(self, folder: Path) -> None:
        """Look into `folder`."""
        self.folder = folder

    def path(self, name: str) -> Path:
        """Give a pack's file."""
        return self.folder / f"{name}.pack"

    def sizes(self) -> dict[str, int]:
        """Give the size of each pack that is there."""
        found = {}
        for path in self.folder.glob("*.pack"):
            with contextlib.suppress(FileNotFoundError):  # a garbage collection has taken it
                found[path.stem] = path.stat().st_size
        return found

    def entries(self, name: str) -> list[Entry]:
        """Read a pack's index."""
        return read_entries(self.path(name))


class ObjectIndex:
    """The objects of one place of packs. Opened when first used; a connection for each thread."""

    def __init__(self, path: Path, packs: Packs) -> None:
        """Keep the index of `packs` at `path`."""
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
        write_ahead(connection)
        for pragma in ("synchronous=NORMAL", "cache_size=-65536", "mmap_size=268435456"):
            connection.execute(f"PRAGMA {pragma}")
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'state' AND type = 'table'").fetchone():
            create_tables(connection, _TABLES)
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
        known = {name for (name,) in self.connection.execute("SELECT name FROM pack")}
        there = self._packs.sizes()
        for name in there.keys() - known:
            try:
                self.add_pack(name, there[name], self._packs.entries(name))
            except (Damaged, FileNotFoundError):
                continue  # fsck tells of it; a garbage collection may have taken it meanwhile
        gone = known - there.keys()
        if gone:
            self.forget_packs(sorted(gone))

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
        for (key,) in self.connection.execute("SELECT DISTINCT key FROM object"):
            yield key

    def sizes(self) -> Iterator[tuple[bytes, int]]:
        """Give every object's key and stored bytes."""
        yield from self.connection.execute("SELECT key, max(stored) FROM object GROUP BY key")

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
        """Give what was held since a time."""
        return [key for (key,) in self.connection.execute("SELECT key FROM root WHERE at >= ?", (since,))]

    def let_go(self, *, before: float) -> None:
        """Forget what was held before a time."""
        self.connection.execute("DELETE FROM root WHERE at < ?", (before,))

    def set_partial(self, key: bytes, *, partial: bool) -> None:
        """Remember whether a tree is here in part, as somebody wanted it."""
        change = "INSERT OR IGNORE INTO part VALUES (?)" if partial else "DELETE FROM part WHERE key = ?"
        self.connection.execute(change, (key,))

    def partial(self) -> set[bytes]:
        """Give the trees that are here in part only."""
        return {key for (key,) in self.connection.execute("SELECT key FROM part")}

    def recall(self, name: str) -> str | None:
        """Give what was remembered under a name."""
        row = self.connection.execute("SELECT value FROM state WHERE name = ?", (name,)).fetchone()
        return row[0] if row else None

    def remember(self, name: str, value: str) -> None:
        """Remember something under a name; losing it costs only time."""
        self.connection.execute("INSERT OR REPLACE INTO state VALUES (?, ?)", (name, value))

    def generation(self) -> str:
        """Give a word that changes whenever an object may have gone."""
        return str(self.connection.execute("SELECT value FROM state WHERE name = 'generation'").fetchone()[0])

    @staticmethod
    def _next_generation(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT OR REPLACE INTO state VALUES ('generation', hex(randomblob(8)))")
