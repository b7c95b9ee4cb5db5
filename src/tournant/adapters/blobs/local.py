"""A content store in a local folder."""

import os
from collections.abc import Iterator
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import BinaryIO

from tournant.adapters.blobs.checkout import place_tree
from tournant.adapters.blobs.files import explained
from tournant.adapters.blobs.loose import Loose
from tournant.adapters.blobs.manifests import Entry, Root, read_root, to_tree, walk_entries
from tournant.adapters.blobs.objects import Objects
from tournant.adapters.blobs.pack import Kind
from tournant.adapters.blobs.recipes import ChunkReader, chunks_of, read_recipe
from tournant.adapters.blobs.stats import StatIndex
from tournant.adapters.blobs.trees import store_tree
from tournant.domain.data import Tree, TreeSummary
from tournant.errors import Invalid
from tournant.ports import Progress

__all__ = ["LocalBlobStore", "to_key"]

_READ_BYTES = 1024 * 1024


class LocalBlobStore:
    """Trees in packs, with large files cut into chunks; content stored singly, or asked for by path, as files of its own.

    `docs/explanation/content-store.md` draws it.
    """

    def __init__(self, root: Path) -> None:
        """Keep content under `root`, which is made when something is stored."""
        self.objects = Objects(root)
        self.loose = Loose(root)
        self.stats = StatIndex(root / "stats.db")

    def put(self, source: BinaryIO | bytes) -> str:
        """Store content and give its digest."""
        stream = BytesIO(source) if isinstance(source, bytes) else source
        with explained(f"cannot store in {self.objects.root}"), self.objects.lock.shared():
            key = self.loose.keep(iter(lambda: stream.read(_READ_BYTES), b""))
            os.utime(self.loose.place(key))  # garbage collection spares what is new
        return key.hex()

    def open(self, digest: str) -> BinaryIO:
        """Open content for reading; what is chunked is read as it is asked for."""
        key = to_key(digest)
        path = self.loose.find(key)
        if path:
            return path.open("rb")
        place = self.objects.index.find(key)
        data = self.objects.load(key)
        if place is None or place.entry.kind == Kind.BLOB:
            return BytesIO(data)
        load = self.objects.load
        return BufferedReader(ChunkReader(chunks_of(read_recipe(data), load), load), _READ_BYTES)

    def path(self, digest: str) -> Path:
        """Give the content's file, made of its chunks when first asked for."""
        key = to_key(digest)
        path = self.loose.find(key)
        if path is None:
            with explained(f"cannot write {self.loose.place(key)}"):
                self.loose.keep(self.objects.load_content(key), expected=key)
        return path or self.loose.place(key)

    def has(self, digest: str) -> bool:
        """Tell whether the content is here."""
        key = to_key(digest)
        return self.objects.index.find(key) is not None or self.loose.find(key) is not None

    def put_tree(self, path: Path, *, progress: Progress | None = None) -> TreeSummary:
        """Store a folder, or one file under its own name."""
        with explained(f"cannot store {path} in {self.objects.root}"):
            return store_tree(self.objects, self.stats, path, progress)

    def tree(self, digest: str) -> Tree:
        """Read a tree manifest."""
        return to_tree(self.entries(digest))

    def checkout(self, digest: str, target: Path, *, progress: Progress | None = None) -> None:
        """Write a tree; what stands at `target` is replaced at once, and only if it differs."""
        with explained(f"cannot write {target}"):
            place_tree(self.objects, self.loose, self.stats, list(self.entries(digest)), target, progress)

    def root(self, digest: str) -> Root:
        """Read a tree's top node."""
        key = to_key(digest)
        if self.objects.index.find(key) is None and self.loose.find(key) is not None:
            raise Invalid(f"the content {digest} is not a tree manifest")
        return read_root(self.objects.load(key), digest)

    def entries(self, digest: str) -> Iterator[Entry]:
        """Give a tree's entries in order."""
        return walk_entries(self.root(digest), self.objects.load_many)


def to_key(digest: str) -> bytes:
    """Give a digest's bytes; Invalid if it is none."""
    if len(digest) != 64 or not set(digest) <= set("0123456789abcdef"):
        raise Invalid(f"{digest!r} is not a digest: 64 hexadecimal digits")
    return bytes.fromhex(digest)
