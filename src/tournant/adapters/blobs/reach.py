"""What roots reach: trees their nodes and files, large content its chunks."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from tournant.adapters.blobs.index import Place
from tournant.adapters.blobs.manifests import FOLDER, Root, child_keys, is_root, leaf_entries, read_root
from tournant.adapters.blobs.pack import Kind
from tournant.adapters.blobs.recipes import chunks_of, read_recipe
from tournant.errors import Damaged, NotFound

__all__ = ["Reach", "Readable"]


class Readable(Protocol):
    """Objects that can be found and read, on this machine or at a remote."""

    def find_many(self, keys: Iterable[bytes]) -> Mapping[bytes, Place]:
        """Say where objects are."""
        ...

    def load(self, key: bytes) -> bytes | memoryview:
        """Give one object."""
        ...

    def load_many(self, keys: Sequence[bytes]) -> Iterator[bytes | memoryview]:
        """Give many objects in order."""
        ...


class Reach:
    """Marks what roots reach; what is reached and not there is `missing`, what cannot be read `damaged`."""

    def __init__(self, source: Readable) -> None:
        """Read nodes and recipes from `source`."""
        self._source = source
        self.live: set[bytes] = set()
        self.missing: set[bytes] = set()
        self.damaged: set[bytes] = set()

    def mark(self, roots: Iterable[bytes]) -> None:
        """Follow roots, each the digest of a tree or of content; what was marked before is not read again."""
        contents = []
        for key in roots:
            if key in self.live:
                continue
            place = self._source.find_many((key,)).get(key)
            data = self._load(key) if place and place.entry.kind == Kind.BLOB else b""
            if is_root(data):
                self.live.add(key)
                self._mark_tree(read_root(data, key.hex()))
            else:
                contents.append(key)
        self._mark_contents(contents)

    def _mark_tree(self, root: Root) -> None:
        if root.level == 0:
            self._mark_contents(item[1] for item in root.items if not item[3] & FOLDER)
            return
        keys = [key for _, key in root.items]
        for level in range(root.level - 1, -1, -1):
            keys = self._new(keys)
            nodes = self._load_many(keys)
            if level == 0:
                self._mark_contents(e.key for data in nodes for e in leaf_entries(data) if not e.flags & FOLDER)
            else:
                keys = [key for data in nodes for key in child_keys(data)]

    def _mark_contents(self, keys: Iterable[bytes]) -> None:
        new = self._new(keys)
        places = self._source.find_many(new)
        for key in new:
            place = places.get(key)
            if place is None:
                self.missing.add(key)
            elif place.entry.kind == Kind.RECIPE:
                self._mark_recipe(key)

    def _mark_recipe(self, key: bytes) -> None:
        data = self._load(key)
        if not data:
            return
        recipe = read_recipe(data)
        if recipe.parts:
            self.live.update(part for part, _ in recipe.refs)
        try:
            chunks = self._new(chunk.key for chunk in chunks_of(recipe, self._source.load))
        except NotFound:
            self.missing.update(part for part, _ in recipe.refs)
            return
        except Damaged:
            self.damaged.add(key)
            return
        found = self._source.find_many(chunks)
        self.missing.update(chunk for chunk in chunks if chunk not in found)

    def _new(self, keys: Iterable[bytes]) -> list[bytes]:
        new = [key for key in dict.fromkeys(keys) if key not in self.live]
        self.live.update(new)
        return new

    def _load_many(self, keys: list[bytes]) -> list[bytes | memoryview]:
        try:
            return [bytes(data) for data in self._source.load_many(keys)]
        except (NotFound, Damaged):  # one by one, to know which
            return [data for key in keys if (data := self._load(key))]

    def _load(self, key: bytes) -> bytes | memoryview:
        try:
            return self._source.load(key)
        except NotFound:
            self.missing.add(key)
        except Damaged:
            self.damaged.add(key)
        return b""
