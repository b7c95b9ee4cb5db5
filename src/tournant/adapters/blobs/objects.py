"""The objects of a local store: written into packs, found by their digests, checked when they are read."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path

from tournant.adapters.blobs.compression import Compression
from tournant.adapters.blobs.files import BLOCK_BYTES, READ_ONLY, DirectReader, sync_folder, temporary
from tournant.adapters.blobs.index import ObjectIndex, PackFolder, Place
from tournant.adapters.blobs.lock import StoreLock
from tournant.adapters.blobs.pack import PACK_BYTES, Entry, Kind, PackWriter, decode, runs
from tournant.adapters.blobs.recipes import chunks_of, read_recipe
from tournant.errors import NotFound

__all__ = ["ObjectWriter", "Objects", "absent", "read_file"]

_GAP_BYTES = 64 * 1024  # reading so much for nothing is cheaper than another read


def absent(key: bytes) -> NotFound:
    """Say that an object is not here."""
    return NotFound(
        f"the content store has nothing with the digest {key.hex()}; if a remote has it: tournant data fetch"
    )


class Objects:
    """Packs and their index under one folder."""

    def __init__(self, root: Path) -> None:
        """Use `root`, which is made when something is stored."""
        self.root = root
        self.packs = PackFolder(root / "packs")
        self.incoming = root / "incoming"
        self.index = ObjectIndex(root / "index.db", self.packs)
        self.lock = StoreLock(root / "lock")

    @contextmanager
    def writing(self) -> Iterator["ObjectWriter"]:
        """Write objects; those added are in the store, and on the disk, when the block ends well."""
        with self.lock.shared():
            writer = ObjectWriter(self)
            try:
                yield writer
                writer.flush()
            finally:
                writer.discard()

    def adopt(self, path: Path, name: str, entries: Sequence[Entry]) -> None:
        """Take in a finished pack that is on the disk at `path`."""
        target = self.packs.path(name)
        target.parent.mkdir(parents=True, exist_ok=True)
        path.chmod(READ_ONLY)
        path.replace(target)
        sync_folder(target.parent)
        self.index.add_pack(name, target.stat().st_size, entries)

    def find_many(self, keys: Iterable[bytes]) -> Mapping[bytes, Place]:
        """Say where objects are."""
        return self.index.find_many(keys)

    def load(self, key: bytes) -> bytes | memoryview:
        """Give one object; NotFound if it is not here, Damaged if it is not what it was."""
        for _ in range(3):  # a garbage collection may move it between the look-up and the reading
            place = self.index.find(key)
            if place is None:
                break
            try:
                return decode(place.entry, self.read_stored(place))
            except FileNotFoundError:
                continue
        raise absent(key)

    def read_stored(self, place: Place) -> bytes:
        """Give an object's bytes as they stand in its pack; FileNotFoundError if the pack is gone."""
        descriptor = os.open(self.packs.path(place.pack), os.O_RDONLY)
        try:
            return os.pread(descriptor, place.entry.stored, place.entry.offset)
        finally:
            os.close(descriptor)

    def load_content(self, key: bytes) -> Iterator[bytes | memoryview]:
        """Give content piece by piece, each good until the next; NotFound if it is not in packs."""
        place = self.index.find(key)
        data = self.load(key)
        if place and place.entry.kind == Kind.RECIPE:
            yield from self.load_many([chunk.key for chunk in chunks_of(read_recipe(data), self.load)])
        else:
            yield data

    def load_many(self, keys: Sequence[bytes]) -> Iterator[bytes | memoryview]:
        """Give many objects in the order of `keys`, reading neighbours at once; each is good until the next."""
        places = self.index.find_many(keys)
        for key in keys:
            if key not in places:
                raise absent(key)
        for entry, stored in self.read_places([places[key] for key in keys]):
            yield decode(entry, stored)

    def read_places(self, places: Iterable[Place]) -> Iterator[tuple[Entry, bytes | memoryview]]:
        """Give stored bytes in the order of `places`, reading neighbours at once; each is good until the next."""
        for pack, group in groupby(places, key=lambda place: place.pack):
            yield from self.read_entries(pack, [place.entry for place in group])

    def read_entries(self, pack: str, entries: Sequence[Entry]) -> Iterator[tuple[Entry, bytes | memoryview]]:
        """Give the stored bytes of objects of one pack, in the order given; each is good until the next."""
        try:
            yield from read_file(self.packs.path(pack), entries)
        except FileNotFoundError:  # a garbage collection has moved them
            for entry in entries:
                yield self._read_moved(entry.key)

    def _read_moved(self, key: bytes) -> tuple[Entry, bytes]:
        place = self.index.find(key)
        if place is None:
            raise absent(key)
        return place.entry, self.read_stored(place)


def read_file(path: Path, entries: Sequence[Entry]) -> Iterator[tuple[Entry, bytes | memoryview]]:
    """Give the stored bytes of objects of a pack file, in the order given, reading neighbours at once."""
    reader = DirectReader(path)
    try:
        for start, length, run in runs(entries, gap_bytes=_GAP_BYTES, most_bytes=BLOCK_BYTES):
            block = reader.read(start, length)
            for entry in run:
                yield entry, block[entry.offset - start : entry.offset - start + entry.stored]
    finally:
        reader.close()


class ObjectWriter:
    """Adds objects to packs, starting another when one is full. Made by `Objects.writing`."""

    def __init__(self, objects: Objects) -> None:
        """Write into `objects`."""
        self._objects = objects
        self._compression = Compression()
        self._pack: PackWriter | None = None
        self._pending: set[bytes] = set()
        self.stored_bytes = 0
        self.packs: set[str] = set()  # the names of those it has finished

    def missing(self, keys: Sequence[bytes]) -> set[bytes]:
        """Give those of `keys` that are neither in the store nor added."""
        return self._objects.index.missing(keys) - self._pending

    def add(self, key: bytes, data: bytes | memoryview, *, kind: Kind = Kind.BLOB, label: str = "") -> None:
        """Add an object that is missing; `label` tells contents apart that compress alike."""
        if key not in self._pending:
            codec, stored = self._compression.encode(data, label)
            self.add_stored(Entry(key, kind, codec, 0, len(stored), len(data)), stored)

    def add_stored(self, entry: Entry, stored: bytes | memoryview) -> None:
        """Add an object in the form another pack has it in."""
        if self._pack is None:
            self._context = temporary(self._objects.incoming)
            self._pack = PackWriter(self._context.__enter__())
        self._pack.add(entry.key, entry.kind, entry.codec, stored, entry.size)
        self._pending.add(entry.key)
        self.stored_bytes += len(stored)
        if self._pack.size_bytes >= PACK_BYTES:
            self.flush()

    def flush(self) -> None:
        """Finish the pack at hand: its objects are in the store now."""
        if self._pack is None:
            return
        pack, objects = self._pack, self._objects
        name = pack.finish()
        objects.adopt(pack.path, name, pack.entries)
        self.packs.add(name)
        self.discard()

    def discard(self) -> None:
        """Forget the pack at hand."""
        if self._pack is not None:
            self._pack.discard()
            self._context.__exit__(None, None, None)
            self._pack = None
            self._pending = set()
