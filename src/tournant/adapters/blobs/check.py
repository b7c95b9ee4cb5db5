"""Checking a store, and mending it: every pack, object and file is read and compared with its digest."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tournant.adapters.blobs.loose import Loose
from tournant.adapters.blobs.objects import Objects
from tournant.adapters.blobs.pack import Entry, decode
from tournant.adapters.blobs.reach import Reach
from tournant.domain.data import StoreCheck
from tournant.errors import Damaged
from tournant.ports import Progress

__all__ = ["Fetch", "check"]

# Gives those of some objects that a remote has, as (entry, stored bytes).
Fetch = Callable[[Iterable[bytes]], Iterable[tuple[Entry, bytes]]]


@dataclass(slots=True)
class _Findings:
    packs: int = 0
    objects: int = 0
    files: int = 0
    bad_packs: dict[str, list[Entry]] = field(default_factory=dict)  # name: what is still good in it
    damaged: set[bytes] = field(default_factory=set)
    bad_files: list[bytes] = field(default_factory=list)


def check(
    objects: Objects,
    loose: Loose,
    roots: Mapping[bytes, str],
    *,
    fetch: Fetch | None = None,
    progress: Progress | None = None,
) -> StoreCheck:
    """Read everything; `roots` say what must be whole (and what to call it). With `fetch`, mend what is not.

    Mending keeps what is good of a damaged pack, gets the rest by `fetch`, and puts the damaged file aside.
    """
    objects.index.reconcile()
    found = _Findings()
    for name, size in sorted(objects.packs.sizes().items()):
        _check_pack(objects, name, found)
        if progress:
            progress(1, size)
    for key in loose.digests():
        found.files += 1
        if not loose.check(key):
            found.bad_files.append(key)
    damaged = {*found.damaged, *found.bad_files}
    repaired = _mend(objects, loose, found, fetch) if fetch else 0
    broken, missing = _check_roots(objects, loose, roots, fetch)
    return StoreCheck(
        packs=found.packs,
        objects=found.objects,
        files=found.files,
        damaged=tuple(sorted(key.hex() for key in damaged)),
        damaged_packs=tuple(sorted(found.bad_packs)),
        missing=tuple(sorted(key.hex() for key in missing)),
        incomplete=tuple(broken),
        repaired=repaired,
        mended=fetch is not None,
    )


def _check_pack(objects: Objects, name: str, found: _Findings) -> None:
    found.packs += 1
    known = objects.index.entries_of(name)
    try:
        entries = objects.packs.entries(name)
    except Damaged:
        entries, found.bad_packs[name] = known, []
    except FileNotFoundError:  # a garbage collection has taken it
        return
    good = []
    for entry, stored in objects.read_entries(name, entries):
        found.objects += 1
        try:
            decode(entry, stored)
            good.append(entry)
        except Damaged:
            found.damaged.add(entry.key)
            found.bad_packs[name] = []
    if name in found.bad_packs:
        found.bad_packs[name] = good


def _mend(objects: Objects, loose: Loose, found: _Findings, fetch: Fetch) -> int:
    """Write what is good, or can be got, of damaged packs into new ones; give how many objects were got."""
    repaired = 0
    for key in found.bad_files:  # put aside, not destroyed: it may be all that is left of the content
        _put_aside(objects, loose.place(key))
    with objects.writing() as writer:
        for name, good in found.bad_packs.items():
            for entry, stored in objects.read_entries(name, good):
                writer.add_stored(entry, stored)
        for entry, stored in fetch([*found.damaged, *found.bad_files]):
            writer.add_stored(entry, stored)
            repaired += 1
    for name in found.bad_packs:
        _put_aside(objects, objects.packs.path(name))
    if found.bad_packs:
        objects.index.forget_packs(list(found.bad_packs))
    return repaired


def _put_aside(objects: Objects, path: Path) -> None:
    aside = objects.root / "damaged"
    aside.mkdir(exist_ok=True)
    path.replace(aside / f"{path.parent.name}-{path.name}")


def _check_roots(
    objects: Objects, loose: Loose, roots: Mapping[bytes, str], fetch: Fetch | None
) -> tuple[list[str], set[bytes]]:
    """Give the names of roots that are not whole, and what they lack; `fetch` gets what it can first."""
    broken: list[str] = []
    lacking: set[bytes] = set()
    partial = objects.index.partial()
    for root, name in roots.items():
        if root in partial:
            continue
        missing = _missing(objects, loose, root)
        while missing and fetch:
            with objects.writing() as writer:
                for entry, stored in fetch(missing):
                    writer.add_stored(entry, stored)
            left = _missing(objects, loose, root)
            if left == missing:
                break
            missing = left
        if missing:
            broken.append(name)
            lacking |= missing
    return broken, lacking


def _missing(objects: Objects, loose: Loose, root: bytes) -> set[bytes]:
    reach = Reach(objects)
    reach.mark((root,))
    return {key for key in reach.missing if not loose.find(key)} | reach.damaged
