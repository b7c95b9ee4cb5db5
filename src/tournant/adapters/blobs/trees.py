"""Folders on disk as trees: digests of their files (unchanged ones are not read), and their content into packs."""

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from io import FileIO
from pathlib import Path
from typing import NamedTuple

from blake3 import blake3

from tournant.adapters.blobs.manifests import EXECUTABLE, FOLDER, Entry, encode_tree
from tournant.adapters.blobs.objects import Objects, ObjectWriter
from tournant.adapters.blobs.pack import Kind
from tournant.adapters.blobs.recipes import (
    CHUNKED_FROM_BYTES,
    Chunk,
    Source,
    chunks_of,
    cut,
    encode_recipe,
    read_recipe,
)
from tournant.adapters.blobs.scan import FoundFile, FoundFolder, scan
from tournant.adapters.blobs.stats import FolderStats, StatIndex
from tournant.domain.data import TreeSummary
from tournant.errors import Invalid
from tournant.ports import Progress

__all__ = ["digest_tree", "store_content", "store_tree"]

_BATCH_BYTES = 8 * 1024**2
_MANIFEST = "tree manifest"


class _Job(NamedTuple):
    """A file whose digest is not known."""

    folder: FoundFolder
    file: FoundFile

    @property
    def path(self) -> str:
        return f"{self.folder.path}/{self.file.name}"


class _Scan:
    """One walk over a folder: entries of unchanged files at once, of others when their digests come."""

    def __init__(self, stats: StatIndex, generation: str, trust: Callable[[list[bytes]], set[bytes]]) -> None:
        self.entries: list[Entry] = []
        self._stats = stats
        self._generation = generation
        self._trust = trust  # gives those of some digests that cannot be relied on
        self._fresh: dict[str, FolderStats] = {}
        self._changed: set[str] = set()

    def jobs(self, path: Path) -> Iterator[_Job]:
        entries = self.entries
        for folder in scan(path):
            if folder.bare and folder.prefix:
                entries.append(Entry(folder.prefix[:-1], b"", 0, FOLDER))
            known, generation = self._stats.load(folder.path)
            doubtful: set[bytes] = set()
            if generation != self._generation:
                doubtful = self._trust([known[file.name][3] for file in folder.files if file.name in known])
            fresh: FolderStats = {}
            prefix = folder.prefix
            for file in folder.files:
                name, size, mtime, inode, mode = file
                stamp = known.get(name)
                if stamp and stamp[:3] == (size, mtime, inode) and stamp[3] not in doubtful:
                    fresh[name] = stamp
                    entries.append(Entry(prefix + name, stamp[3], size, EXECUTABLE if mode & 0o100 else 0))
                else:
                    self._changed.add(folder.path)
                    yield _Job(folder, file)
            if len(fresh) != len(known) or generation != self._generation:
                self._changed.add(folder.path)
            self._fresh.setdefault(folder.path, {}).update(fresh)

    def done(self, job: _Job, key: bytes) -> None:
        name, size, mtime, inode, mode = job.file
        self.entries.append(Entry(job.folder.prefix + name, key, size, EXECUTABLE if mode & 0o100 else 0))
        self._fresh.setdefault(job.folder.path, {})[name] = (size, mtime, inode, key)

    def remember(self, *, whole: bool) -> None:
        """Keep what was learnt; without `whole` a folder has files that were not looked at."""
        rows = []
        for path in self._changed:
            known, generation = self._stats.load(path)
            base = known if not whole and generation == self._generation else {}
            rows.append((path, {**base, **self._fresh[path]}))
        if rows:
            self._stats.save(rows, self._generation)


def store_tree(objects: Objects, stats: StatIndex, path: Path, progress: Progress | None) -> TreeSummary:
    """Keep a folder (or one file) and give its tree."""
    with objects.writing() as writer:
        walk = _Scan(stats, objects.index.generation(), lambda keys: lacking(objects, keys))
        batch: list[tuple[_Job, bytes]] = []
        batched = 0
        for job in walk.jobs(path):
            if job.file.size > CHUNKED_FROM_BYTES:
                key = _store_large(writer, job)
                walk.done(job, key)
                if progress:
                    progress(1, job.file.size)
                continue
            batch.append((job, _read(job)))
            batched += job.file.size
            if batched >= _BATCH_BYTES or len(batch) >= 2048:
                _store_batch(writer, batch, walk, progress)
                batch, batched = [], 0
        _store_batch(writer, batch, walk, progress)
        walk.entries.sort()

        def keep(nodes: list[tuple[bytes, bytes]]) -> None:
            missing = writer.missing([key for key, _ in nodes])
            for key, body in nodes:
                if key in missing:
                    writer.add(key, body, label=_MANIFEST)

        key, files, size = encode_tree(walk.entries, keep)
        writer.flush()
        objects.index.hold(key)
        walk.remember(whole=path.is_dir())  # the stat index vouches for what is in the store, so after it
    return TreeSummary(digest=key.hex(), files=files, size_bytes=size)


def digest_tree(stats: StatIndex, path: Path, generation: str) -> list[Entry]:
    """Give a folder's entries, sorted, and store nothing."""
    walk = _Scan(stats, generation, lambda _: set())
    for job in walk.jobs(path):
        hasher = blake3()
        with open(job.path, "rb", buffering=0) as file:  # noqa: PTH123 - text all along
            while block := file.read(_BATCH_BYTES):
                hasher.update(block)
        walk.done(job, hasher.digest())
    walk.entries.sort()
    return walk.entries


def lacking(objects: Objects, keys: list[bytes]) -> set[bytes]:
    """Give those of some contents' digests that the store has not, or not all chunks of."""
    places = objects.index.find_many(keys)
    absent = {key for key in keys if key not in places}
    for key, place in places.items():
        if place.entry.kind == Kind.RECIPE:
            chunks = chunks_of(read_recipe(objects.load(key)), objects.load)
            if objects.index.missing([chunk.key for chunk in chunks]):
                absent.add(key)
    return absent


def store_content(writer: ObjectWriter, source: Source, label: str) -> tuple[bytes, int]:
    """Keep large content as chunks and a recipe; give its digest and size."""
    whole, chunks, size = blake3(), [], 0
    for window in cut(source):
        for piece in window:
            whole.update(piece)
        keys = [blake3(piece).digest() for piece in window]
        missing = writer.missing(keys)
        for key, piece in zip(keys, window, strict=True):
            chunks.append(Chunk(key, len(piece)))
            size += len(piece)
            if key in missing:
                writer.add(key, piece, label=label)
    digest = whole.digest()

    def keep(key: bytes, body: bytes) -> None:
        if writer.missing((key,)):
            writer.add(key, body, label="recipe")

    recipe = encode_recipe(chunks, keep)
    if writer.missing((digest,)):
        writer.add(digest, recipe, kind=Kind.RECIPE, label="recipe")
    return digest, size


def _store_large(writer: ObjectWriter, job: _Job) -> bytes:
    with closing(FileIO(job.path)) as file:
        digest, size = store_content(writer, file, _suffix(job.file.name))
        _check_unchanged(job, os.fstat(file.fileno()), size)
    return digest


def _store_batch(writer: ObjectWriter, batch: list[tuple[_Job, bytes]], walk: _Scan, progress: Progress | None) -> None:
    keys = [blake3(data).digest() for _, data in batch]
    missing = writer.missing(keys)
    for key, (job, data) in zip(keys, batch, strict=True):
        if key in missing:
            writer.add(key, data, label=_suffix(job.file.name))
        walk.done(job, key)
    if progress and batch:
        progress(len(batch), sum(job.file.size for job, _ in batch))


def _read(job: _Job) -> bytes:
    descriptor = os.open(job.path, os.O_RDONLY)
    try:
        data = os.read(descriptor, CHUNKED_FROM_BYTES + 1)
        _check_unchanged(job, os.fstat(descriptor), len(data))
    finally:
        os.close(descriptor)
    return data


def _check_unchanged(job: _Job, now: os.stat_result, read_bytes: int) -> None:
    if (now.st_mtime_ns, now.st_size) != (job.file.mtime, job.file.size) or read_bytes != job.file.size:
        raise Invalid(f"{job.path} changed while it was read: try again when nobody writes it")


def _suffix(name: str) -> str:
    return name[name.rfind(".") :]
