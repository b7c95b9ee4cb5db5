"""The objects at a remote: found by a local copy of its packs' indexes, read by ranges."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path

from tournant.adapters.blobs.bucket import Bucket
from tournant.adapters.blobs.index import ObjectIndex, PackFolder, Place
from tournant.adapters.blobs.objects import absent
from tournant.adapters.blobs.pack import TRAILER_BYTES, Entry, decode, parse_footer, parse_trailer, runs
from tournant.errors import Damaged

__all__ = ["CONDEMNED", "RemoteObjects", "pack_object"]

CONDEMNED = "condemned"
_GAP_BYTES = 256 * 1024
_MOST_BYTES = 16 * 1024**2
_TAIL_BYTES = 64 * 1024  # read at first: most indexes end within it


def pack_object(name: str) -> str:
    """Give the name of a pack's object."""
    return f"packs/{name}.pack"


class RemotePacks:
    """Packs as objects; the index of one that is here too is read here."""

    def __init__(self, bucket: Bucket, local: PackFolder) -> None:
        """List and read `bucket`."""
        self._bucket = bucket
        self._local = local
        self._sizes: dict[str, int] = {}
        self.with_condemned = False
        self.modified: dict[str, float] = {}  # as of the last listing

    def sizes(self) -> dict[str, int]:
        """Give the size of each pack that is there and (but for garbage collection itself) not about to go."""
        condemned = set() if self.with_condemned else {Path(item.name).name for item in self._bucket.list(CONDEMNED)}
        packs = [item for item in self._bucket.list("packs") if item.name.endswith(".pack")]
        named = {Path(item.name).stem: item for item in packs}
        self.modified = {name: item.modified for name, item in named.items()}
        self._sizes = {name: item.size for name, item in named.items() if name not in condemned}
        return self._sizes

    def entries(self, name: str) -> list[Entry]:
        """Read a pack's index: from its file here, or by its end there."""
        if self._local.path(name).exists():
            return self._local.entries(name)
        size = self._sizes[name]
        length = min(size, _TAIL_BYTES)
        (tail,) = self._bucket.get_ranges(pack_object(name), [(size - length, length)])
        trailer = parse_trailer(tail[-TRAILER_BYTES:], size_bytes=size, name=name)
        start = trailer.start - (size - length)
        if start >= 0:
            footer = tail[start : start + trailer.footer_bytes]
        else:
            (footer,) = self._bucket.get_ranges(pack_object(name), [(trailer.start, trailer.footer_bytes)])
        return parse_footer(footer, trailer, name=name)


class RemoteObjects:
    """What is at a remote, for reading."""

    def __init__(self, bucket: Bucket, cache: Path, local: PackFolder) -> None:
        """Keep the copy of the indexes in the folder `cache`."""
        self.bucket = bucket
        self.packs = RemotePacks(bucket, local)
        self.index = ObjectIndex(cache / "index.db", self.packs)

    def find_many(self, keys: Iterable[bytes]) -> Mapping[bytes, Place]:
        """Say where objects are."""
        return self.index.find_many(keys)

    def load(self, key: bytes) -> bytes | memoryview:
        """Give one object."""
        return next(self.load_many((key,)))

    def load_many(self, keys: Sequence[bytes]) -> Iterator[bytes | memoryview]:
        """Give many objects in the order of `keys`."""
        places = self.index.find_many(keys)
        for key in keys:
            if key not in places:
                raise absent(key)
        for entry, stored in self.read_places([places[key] for key in keys]):
            yield decode(entry, stored)

    def read_places(self, places: Iterable[Place]) -> Iterator[tuple[Entry, bytes]]:
        """Give stored bytes in the order of `places`; neighbours come by one request."""
        for pack, group in groupby(places, key=lambda place: place.pack):
            yield from self.read_pack(pack, [place.entry for place in group])

    def read_pack(self, name: str, entries: Sequence[Entry]) -> Iterator[tuple[Entry, bytes]]:
        """Give the stored bytes of objects of one pack, in the order given."""
        for start, length, run in runs(entries, gap_bytes=_GAP_BYTES, most_bytes=_MOST_BYTES):
            (block,) = self.bucket.get_ranges(pack_object(name), [(start, length)])
            if len(block) != length:
                raise Damaged(f"the pack {name} at {self.bucket.url} is cut short")
            for entry in run:
                yield entry, block[entry.offset - start : entry.offset - start + entry.stored]
