"""Content read from a remote as it is asked for: what is here is taken from here, the rest comes by ranges of chunks."""

from collections.abc import Sequence
from io import BufferedReader, BytesIO
from typing import BinaryIO

from tournant.adapters.blobs.objects import Objects
from tournant.adapters.blobs.pack import Kind
from tournant.adapters.blobs.recipes import Chunk, ChunkReader, chunks_of, read_recipe
from tournant.adapters.blobs.remote_objects import RemoteObjects
from tournant.errors import NotFound

__all__ = ["open_remote_content"]

_MOST_AHEAD = 64  # chunks; about 5 MB
_BUFFER_BYTES = 256 * 1024


def open_remote_content(objects: Objects, remote: RemoteObjects, key: bytes) -> BinaryIO:
    """Open content for reading and seeking; NotFound if it is neither here nor there."""
    either = _Either(objects, remote)
    data = either.load(key)
    place = either.place(key)
    if place != Kind.RECIPE:
        return BytesIO(data)
    chunks = chunks_of(read_recipe(data), either.load)
    return BufferedReader(ChunkReader(chunks, _Ahead(either, chunks).load), _BUFFER_BYTES)


class _Either:
    """Objects that are here or there."""

    def __init__(self, objects: Objects, remote: RemoteObjects) -> None:
        self._objects = objects
        self._remote = remote

    def place(self, key: bytes) -> int | None:
        place = self._objects.index.find(key) or self._remote.index.find(key)
        return place.entry.kind if place else None

    def load(self, key: bytes) -> bytes | memoryview:
        return self.load_many((key,))[0]

    def load_many(self, keys: Sequence[bytes]) -> list[bytes | memoryview]:
        absent = self._objects.index.missing(keys)
        if absent and len(self._remote.find_many(absent)) < len(absent):
            self._remote.index.reconcile()
        wanted = [key for key in keys if key in absent]
        try:
            there = self._load_there(wanted)
        except FileNotFoundError:  # a garbage collection there has moved them
            self._remote.index.reconcile()
            there = self._load_there(wanted)
        return [there[key] if key in there else bytes(self._objects.load(key)) for key in keys]

    def _load_there(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        try:
            return {key: bytes(data) for key, data in zip(keys, self._remote.load_many(keys), strict=True)}
        except NotFound as exc:
            raise NotFound(f"{self._remote.bucket.url} has not all of the content: {exc.message}") from exc


class _Ahead:
    """Loads chunks ahead of a reader that goes on, more the longer it does; one that jumps gets what it asks for."""

    def __init__(self, either: _Either, chunks: Sequence[Chunk]) -> None:
        self._either = either
        self._keys = [chunk.key for chunk in chunks]
        self._numbers = {key: number for number, key in enumerate(self._keys)}
        self._loaded: dict[bytes, bytes | memoryview] = {}
        self._ahead = 1
        self._next = -1

    def load(self, key: bytes) -> bytes | memoryview:
        if key in self._loaded:
            return self._loaded[key]
        number = self._numbers[key]
        self._ahead = min(2 * self._ahead, _MOST_AHEAD) if number == self._next else 1
        keys = list(dict.fromkeys(self._keys[number : number + self._ahead]))
        self._loaded = dict(zip(keys, self._either.load_many(keys), strict=True))
        self._next = number + self._ahead
        return self._loaded[key]
