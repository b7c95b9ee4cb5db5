"""Large content: cut into chunks where its bytes say so, and the recipe that puts it together again.

The boundaries are FastCDC's (Xia and others 2020) with 64 KiB as the target. They must never change: other boundaries are
other chunks, and nothing would be found again. A recipe lists (digest, length) of the chunks; long ones are cut into parts
that are stored as blobs, again where the digests say so, so that a new version of a large file writes few of them.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from io import RawIOBase
from itertools import accumulate
from typing import NamedTuple, Protocol

import msgspec
from blake3 import blake3
from pyfastcdc import FastCDC

from tournant.errors import Damaged

__all__ = [
    "CHUNKED_FROM_BYTES",
    "Chunk",
    "ChunkReader",
    "Recipe",
    "Source",
    "chunks_of",
    "cut",
    "encode_recipe",
    "read_recipe",
]

CHUNKED_FROM_BYTES = 256 * 1024  # content up to this size is one object
_LONGEST = 256 * 1024
_CUTTER = FastCDC(65_536, min_size=32_768, max_size=_LONGEST, normalized_chunking=2)
_WINDOW = 8 * 1024**2
_PART = 128  # chunks of a recipe part on average


class Source(Protocol):
    """Binary content to read."""

    def readinto(self, buffer: memoryview, /) -> int | None:
        """Fill the buffer as far as content goes."""
        ...


class Chunk(NamedTuple):
    """A piece of content."""

    key: bytes
    length: int


class Recipe(msgspec.Struct, frozen=True, array_like=True):
    """How content is put together: its chunks, or (with `parts`) blobs that list them."""

    size: int
    parts: bool
    refs: list[tuple[bytes, int]]


def cut(source: Source) -> Iterator[list[memoryview]]:
    """Give content's chunks, a window of them at a time; they are good until the next is asked for.

    Where the windows begin changes nothing about the chunks.
    """
    buffer = bytearray(_WINDOW)
    view, filled, ended = memoryview(buffer), 0, False
    while not ended:
        while filled < _WINDOW and not ended:
            count = source.readinto(view[filled:]) or 0
            filled += count
            ended = count == 0
        chunks, used = [], 0
        for chunk in _CUTTER.cut_buf(view[:filled]):
            if not ended and filled - chunk.offset < _LONGEST:
                break  # more content could move this boundary
            chunks.append(chunk.data)
            used += chunk.length
        if chunks:
            yield chunks
        rest = filled - used
        buffer[:rest] = buffer[used:filled]
        filled = rest


def encode_recipe(chunks: Sequence[Chunk], keep: Callable[[bytes, bytes], None]) -> bytes:
    """Give the recipe object of content; `keep` stores the parts of a long one."""
    size = sum(chunk.length for chunk in chunks)
    refs: list[tuple[bytes, int]] = [(chunk.key, chunk.length) for chunk in chunks]
    if len(chunks) > 2 * _PART:
        refs = [_keep_part(part, keep) for part in _parts(chunks)]
    body = msgspec.msgpack.encode(Recipe(size, len(chunks) > 2 * _PART, refs))
    return blake3(body).digest() + body


def _parts(chunks: Sequence[Chunk]) -> Iterator[list[Chunk]]:
    part: list[Chunk] = []
    for chunk in chunks:
        part.append(chunk)
        if int.from_bytes(chunk.key[:2]) % _PART == 0 or len(part) == 8 * _PART:
            yield part
            part = []
    if part:
        yield part


def _keep_part(part: list[Chunk], keep: Callable[[bytes, bytes], None]) -> tuple[bytes, int]:
    body = msgspec.msgpack.encode(part)
    key = blake3(body).digest()
    keep(key, body)
    return key, sum(chunk.length for chunk in part)


def read_recipe(data: bytes | memoryview) -> Recipe:
    """Read a recipe object, which has been checked."""
    try:
        return msgspec.msgpack.decode(memoryview(data)[32:], type=Recipe)
    except msgspec.DecodeError as exc:
        raise Damaged("a recipe in the content store cannot be read: tournant data fsck") from exc


_Part = msgspec.msgpack.Decoder(list[tuple[bytes, int]])


def chunks_of(recipe: Recipe, load: Callable[[bytes], bytes | memoryview]) -> list[Chunk]:
    """Give all of a recipe's chunks; `load` reads its parts."""
    if not recipe.parts:
        return [Chunk(*ref) for ref in recipe.refs]
    return [Chunk(*ref) for key, _ in recipe.refs for ref in _Part.decode(load(key))]


class ChunkReader(RawIOBase):
    """Chunked content as a file that can be sought in; only the chunks that are touched are loaded."""

    def __init__(self, chunks: Sequence[Chunk], load: Callable[[bytes], bytes | memoryview]) -> None:
        """Read `chunks` by `load`."""
        self._chunks = chunks
        self._starts = list(accumulate((chunk.length for chunk in chunks), initial=0))
        self._load = load
        self._position = 0
        self._open: tuple[int, bytes | memoryview] = (-1, b"")

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move."""
        base = (0, self._position, self._starts[-1])[whence]
        self._position = max(0, base + offset)
        return self._position

    def tell(self) -> int:
        """Say where."""
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Read at most to the end of the chunk here."""
        if self._position >= self._starts[-1]:
            return 0
        number = bisect_right(self._starts, self._position) - 1
        if self._open[0] != number:
            self._open = (number, self._load(self._chunks[number].key))
        start = self._position - self._starts[number]
        part = self._open[1][start : start + len(buffer)]
        buffer[: len(part)] = part
        self._position += len(part)
        return len(part)
