"""Getting trees from a remote: only what is not here, whole packs where most of one is wanted."""

from collections.abc import Iterable, Iterator, Sequence

from tournant.adapters.blobs.files import temporary
from tournant.adapters.blobs.manifests import FOLDER, read_root, walk_entries
from tournant.adapters.blobs.manifests import Entry as TreeEntry
from tournant.adapters.blobs.objects import Objects, read_file
from tournant.adapters.blobs.pack import Entry, Kind, decode, read_entries
from tournant.adapters.blobs.recipes import chunks_of, read_recipe
from tournant.adapters.blobs.remote_objects import RemoteObjects, pack_object
from tournant.errors import Damaged, NotFound, Unavailable
from tournant.ports import Progress

__all__ = ["Fetcher"]

_TRIES = 4
_WHOLE = 0.5  # a pack of which so much is wanted is got whole


class Fetcher:
    """Brings objects from one remote into the local store; what has come stays, so that a second try goes on there."""

    def __init__(self, objects: Objects, remote: RemoteObjects, progress: Progress | None) -> None:
        """Bring into `objects`."""
        self._objects = objects
        self._remote = remote
        self._progress = progress or (lambda _files, _bytes: None)
        self.objects = 0
        self.size_bytes = 0

    def fetch_tree(self, key: bytes, under: str) -> None:
        """Bring a tree, or the part of it under a path; NotFound if it has no such path."""
        inside = f"{under}/"
        entries = [e for e in self.fetch_manifest(key) if not under or e.path == under or e.path.startswith(inside)]
        if under and not entries:
            raise NotFound(f"the tree {key.hex()[:12]}… has no file or folder {under!r}")
        self.bring_contents([entry.key for entry in entries if not entry.flags & FOLDER])
        if not under:
            self._objects.index.set_partial(key, partial=False)

    def fetch_manifest(self, key: bytes) -> list[TreeEntry]:
        """Bring all of a tree's manifest (it is small, and makes the version known here) and give its entries."""
        index = self._objects.index
        if index.missing((key,)):
            index.set_partial(key, partial=True)
        self.bring((key,))

        def load(keys: Sequence[bytes]) -> Iterator[bytes | memoryview]:
            self.bring(keys)
            return self._objects.load_many(keys)

        entries = list(walk_entries(read_root(self._objects.load(key), key.hex()), load))
        index.hold(key)
        return entries

    def bring_contents(self, keys: Sequence[bytes]) -> None:
        """Bring contents, with the chunks of those that are large."""
        self.bring(keys)
        recipes = [key for key, place in self._objects.index.find_many(keys).items() if place.entry.kind == Kind.RECIPE]
        parts: list[bytes] = []
        for key in recipes:
            recipe = read_recipe(self._objects.load(key))
            if recipe.parts:
                parts += [part for part, _ in recipe.refs]
        self.bring(parts)
        chunks = (chunks_of(read_recipe(self._objects.load(key)), self._objects.load) for key in recipes)
        self.bring(list(dict.fromkeys(chunk.key for some in chunks for chunk in some)))

    def bring(self, keys: Sequence[bytes]) -> None:
        """Bring those of some objects that are not here; NotFound if the remote lacks one."""
        for _ in range(_TRIES):
            try:
                return self._bring(keys)
            except FileNotFoundError:  # a garbage collection there has moved them
                self._remote.index.reconcile()
        raise Unavailable(
            f"{self._remote.bucket.url}: garbage collection there moves packs faster than they come. Try again"
        )

    def _bring(self, keys: Sequence[bytes]) -> None:
        missing = self._objects.index.missing(keys)
        if not missing:
            return
        places = self._remote.find_many(missing)
        if len(places) < len(missing):
            self._remote.index.reconcile()  # somebody has pushed, or a garbage collection has moved them
            places = self._remote.find_many(missing)
        for key in missing - places.keys():
            raise NotFound(f"{self._remote.bucket.url} has not the object {key.hex()[:12]}… of what is wanted")
        grouped: dict[str, list[Entry]] = {}
        for place in places.values():
            grouped.setdefault(place.pack, []).append(place.entry)
        sizes = {pack.name: pack.size_bytes for pack in self._remote.index.packs()}
        for name, entries in grouped.items():
            entries.sort(key=lambda entry: entry.offset)
            if sum(entry.stored for entry in entries) >= _WHOLE * sizes[name]:
                self._bring_pack(name)
            else:
                self._bring_some(name, entries)

    def _bring_pack(self, name: str) -> None:
        with self._objects.lock.shared(), temporary(self._objects.incoming) as path:
            self._remote.bucket.download(pack_object(name), path)
            entries = read_entries(path, name=name)
            self._check(name, read_file(path, entries))
            self._objects.adopt(path, name, entries)
        self._count(entries)

    def _bring_some(self, name: str, entries: Sequence[Entry]) -> None:
        with self._objects.writing() as writer:
            for entry, stored in self._remote.read_pack(name, entries):
                self._check(name, ((entry, stored),))
                writer.add_stored(entry, stored)
        self._count(entries)

    def _check(self, name: str, found: Iterable[tuple[Entry, bytes | memoryview]]) -> None:
        for entry, stored in found:
            try:
                decode(entry, stored)
            except Damaged as exc:
                raise Damaged(
                    f"the pack {name} at {self._remote.bucket.url} is damaged (object {entry.key.hex()[:12]}…): "
                    "push again from where the content is whole"
                ) from exc

    def _count(self, entries: Sequence[Entry]) -> None:
        size = sum(entry.stored for entry in entries)
        self.objects += len(entries)
        self.size_bytes += size
        self._progress(len(entries), size)
