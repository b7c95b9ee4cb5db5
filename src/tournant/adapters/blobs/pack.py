"""Pack files: many objects in one immutable file whose index stands at its end.

A pack is `MAGIC`, the objects' stored bytes one after another, the footer (one `_ENTRY` for each object, in the same
order, so offsets follow from lengths) and the trailer. It is named by the first half of its footer's BLAKE3 digest, so the
same objects in the same order are the same pack; with a salt they are another.
"""

import os
import struct
import threading
from collections.abc import Iterator, Sequence
from enum import IntEnum
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

import zstandard
from blake3 import blake3

from tournant.adapters.blobs.files import DirectFile
from tournant.errors import Damaged

__all__ = [
    "PACK_BYTES",
    "TRAILER_BYTES",
    "Codec",
    "Entry",
    "Kind",
    "PackWriter",
    "decode",
    "pack_name",
    "parse_footer",
    "parse_trailer",
    "read_entries",
    "runs",
]

MAGIC = b"TNPACK1\n"
PACK_BYTES = 64 * 1024**2  # of content: large enough that a remote sees few requests, small enough to send again
_ENTRY = struct.Struct("<32sBBII")
_TRAILER = struct.Struct("<QI32s16s8s")
TRAILER_BYTES = _TRAILER.size


class Kind(IntEnum):
    """What an object's key is the digest of."""

    BLOB = 0  # of the object itself
    RECIPE = 1  # of the content that the object tells how to put together


class Codec(IntEnum):
    """How an object is stored."""

    RAW = 0
    ZSTD = 1


class Entry(NamedTuple):
    """One object of a pack: `stored` bytes at `offset` that decode to `size` bytes."""

    key: bytes
    kind: int
    codec: int
    offset: int
    stored: int
    size: int


class PackWriter:
    """Writes one pack at `path`."""

    def __init__(self, path: Path, *, salt: bytes = b"") -> None:
        """Create the file; `salt` makes a pack of its own out of the same objects."""
        self.path = path
        self.entries: list[Entry] = []
        self._file = DirectFile(path)
        self._file.write(MAGIC)
        self._salt = salt

    @property
    def size_bytes(self) -> int:
        """What has been written so far."""
        return self._file.position

    def add(self, key: bytes, kind: int, codec: int, stored: bytes | memoryview, size: int) -> None:
        """Append an object."""
        self.entries.append(Entry(key, kind, codec, self._file.position, len(stored), size))
        self._file.write(stored)

    def finish(self) -> str:
        """Write index and trailer, put all of it on the disk and give the pack's name."""
        start = self._file.position
        pack = _ENTRY.pack
        footer = b"".join(pack(e.key, e.kind, e.codec, e.stored, e.size) for e in self.entries)
        salt = self._salt.ljust(16, b"\0")
        digest = blake3(footer + salt).digest()
        self._file.write(footer)
        self._file.write(_TRAILER.pack(start, len(self.entries), digest, salt, MAGIC))
        self._file.close(durably=True)
        return pack_name(digest)

    def discard(self) -> None:
        """Give up; whoever gave the path removes the file."""
        self._file.__exit__()


def pack_name(digest: bytes) -> str:
    """Give the name of the pack whose footer has this digest."""
    return digest[:16].hex()


class Trailer(NamedTuple):
    """Where a pack's footer is, and what it must be."""

    start: int
    objects: int
    digest: bytes
    salt: bytes

    @property
    def footer_bytes(self) -> int:
        return self.objects * _ENTRY.size


def parse_trailer(data: bytes, *, size_bytes: int, name: str) -> Trailer:
    """Read the last TRAILER_BYTES of a pack; Damaged if they are not its trailer."""
    if len(data) == TRAILER_BYTES:
        *fields, magic = _TRAILER.unpack(data)
        trailer = Trailer(*fields)
        fits = trailer.start + trailer.footer_bytes + TRAILER_BYTES == size_bytes
        if magic == MAGIC and fits and pack_name(trailer.digest) == name:
            return trailer
    raise Damaged(f"the pack {name} has no readable index at its end: tournant data fsck")


def parse_footer(data: bytes, trailer: Trailer, *, name: str) -> list[Entry]:
    """Read a pack's index; Damaged if it is not what the trailer says."""
    if len(data) != trailer.footer_bytes or blake3(data + trailer.salt).digest() != trailer.digest:
        raise Damaged(f"the index of the pack {name} is damaged: tournant data fsck")
    rows = list(_ENTRY.iter_unpack(data))
    offsets = accumulate((row[3] for row in rows), initial=len(MAGIC))
    return [
        Entry(key, kind, codec, offset, stored, size)
        for (key, kind, codec, stored, size), offset in zip(rows, offsets, strict=False)
    ]


def read_entries(path: Path, *, name: str = "") -> list[Entry]:
    """Read the index of a pack file, which must be that of the pack `name` (by default the file's)."""
    name = name or path.stem
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - TRAILER_BYTES))
        trailer = parse_trailer(file.read(), size_bytes=size, name=name)
        file.seek(trailer.start)
        return parse_footer(file.read(trailer.footer_bytes), trailer, name=name)


_threads = threading.local()


def _decompressor() -> zstandard.ZstdDecompressor:
    """Give this thread's: making one costs more than a small object."""
    found: zstandard.ZstdDecompressor | None = getattr(_threads, "decompressor", None)
    if found is None:
        found = _threads.decompressor = zstandard.ZstdDecompressor()
    return found


def decode(entry: Entry, stored: bytes | memoryview) -> bytes | memoryview:
    """Give an object from its stored bytes; Damaged unless it is what its key says."""
    data: bytes | memoryview = stored
    if entry.codec == Codec.ZSTD:
        try:
            data = _decompressor().decompress(stored, max_output_size=entry.size)
        except zstandard.ZstdError:
            data = b""
    digest, body = (entry.key, data) if entry.kind == Kind.BLOB else (bytes(data[:32]), data[32:])
    if len(data) != entry.size or blake3(body).digest() != digest:
        raise Damaged(f"the object {entry.key.hex()} is damaged on the disk. Repair it: tournant data fsck --repair")
    return data


def runs(entries: Sequence[Entry], *, gap_bytes: int, most_bytes: int) -> Iterator[tuple[int, int, list[Entry]]]:
    """Group entries of one pack, in the order given, into ranges to read at once: offset, length and the entries in it."""
    group: list[Entry] = []
    start = end = 0
    for entry in entries:
        stop = entry.offset + entry.stored
        if group and 0 <= entry.offset - end <= gap_bytes and stop - start <= most_bytes:
            group.append(entry)
            end = stop
            continue
        if group:
            yield start, end - start, group
        group, start, end = [entry], entry.offset, stop
    if group:
        yield start, end - start, group
