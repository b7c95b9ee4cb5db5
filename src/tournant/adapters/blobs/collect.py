"""Garbage collection: what no root reaches goes, beside any number of writers and readers.

Writers share a lock, and what they have stored is a root for a while (`ObjectIndex.hold`), so that nothing goes between its
storing and the moment somebody refers to it. Packs that are mostly dead or small are rewritten; their objects are
in the store at every moment. A collection that is killed has removed less, nothing else.
"""

import time
from collections.abc import Callable, Iterable
from pathlib import Path

from tournant.adapters.blobs.loose import Loose
from tournant.adapters.blobs.objects import Objects
from tournant.adapters.blobs.pack import PACK_BYTES
from tournant.adapters.blobs.reach import Reach
from tournant.domain.data import Collection

__all__ = ["collect"]

_SMALL_BYTES = PACK_BYTES // 16
_FEW = 8  # small packs that are left alone
_ABANDONED_SECONDS = 86_400.0


def collect(
    objects: Objects, loose: Loose, roots: Callable[[], Iterable[bytes]], *, grace_seconds: float, dry_run: bool
) -> Collection:
    """Remove what `roots` do not reach and nobody stored within the last `grace_seconds`."""
    since = time.time() - grace_seconds
    reach = Reach(objects)
    reach.mark(roots())  # most of the work, and needs no lock
    if dry_run:
        reach.mark(objects.index.held(since=since))
        return _count(objects, loose, reach.live, since)
    if reach.missing:  # what is not here yet may be coming, and must be looked at again
        reach = Reach(objects)
    with objects.lock.alone():
        reach.mark(roots())
        reach.mark(objects.index.held(since=since))
        found = _count(objects, loose, reach.live, since)
        objects.index.forget_objects([key for key in objects.index.digests() if key not in reach.live])
        for path in _dead_files(objects, loose, reach.live, since):
            path.unlink(missing_ok=True)
        objects.index.let_go(before=since)
        _remove_empty(objects)
    _rewrite(objects)
    for left in objects.incoming.glob("*") if objects.incoming.is_dir() else ():
        if time.time() - left.stat().st_mtime > _ABANDONED_SECONDS:
            left.unlink(missing_ok=True)
    return found


def _count(objects: Objects, loose: Loose, live: set[bytes], since: float) -> Collection:
    dead, size, kept = 0, 0, 0
    for key, stored in objects.index.sizes():
        if key in live:
            kept += 1
        else:
            dead += 1
            size += stored
    files = _dead_files(objects, loose, live, since)
    return Collection(
        objects=dead + len(files),
        kept_objects=kept,
        size_bytes=size + sum(path.stat().st_size for path in files),
    )


def _dead_files(objects: Objects, loose: Loose, live: set[bytes], since: float) -> list[Path]:
    """Give files of content that nothing reaches, or that packs have too; new ones are spared."""
    old = [key for key in loose.digests() if loose.place(key).stat().st_mtime < since]
    packed = objects.index.find_many(old)
    return [loose.place(key) for key in old if key not in live or key in packed]


def _remove_empty(objects: Objects) -> None:
    empty = [pack.name for pack in objects.index.packs() if not pack.objects]
    for name in empty:
        objects.packs.path(name).unlink(missing_ok=True)
    if empty:
        objects.index.forget_packs(empty)


def _rewrite(objects: Objects) -> None:
    """Move what is alive in wasteful packs into new ones, then remove those."""
    packs = objects.index.packs()
    small = [pack for pack in packs if pack.size_bytes < _SMALL_BYTES]
    wasteful = [pack for pack in packs if pack.stored_bytes < pack.size_bytes // 2]
    chosen = {*wasteful, *(small if len(small) > _FEW else ())}
    if not chosen:
        return
    with objects.writing() as writer:
        for pack in sorted(chosen):
            for entry, stored in objects.read_entries(pack.name, objects.index.entries_of(pack.name)):
                writer.add_stored(entry, stored)
    with objects.lock.alone():
        # A pack whose objects are all alive comes out under its own name again: it stays.
        emptied = [pack.name for pack in chosen if pack.name not in writer.packs]
        objects.index.forget_packs(emptied)
        for name in emptied:
            objects.packs.path(name).unlink(missing_ok=True)
