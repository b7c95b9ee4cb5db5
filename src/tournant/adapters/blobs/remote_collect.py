"""Garbage collection at a remote that several projects push to at the same time.

Packs to go are condemned first, by a marker beside them, and for ever: pushes count a condemned pack as absent. Only then the
roots are read for the last time: the versions of every project, the steps shared lately and the notices of pushes that are going on. What they
reach and only condemned packs have is sent again in new packs; then the condemned ones are removed. A collection that is killed
leaves markers, and the next one goes on. See `push.py` for the other half.
"""

import math
import time
from pathlib import Path

import msgspec

from tournant.adapters.blobs.bucket import Listed
from tournant.adapters.blobs.index import ObjectIndex, PackUse, Place
from tournant.adapters.blobs.objects import Objects
from tournant.adapters.blobs.push import PENDING, Notice, Sender
from tournant.adapters.blobs.reach import Reach
from tournant.adapters.blobs.remote_objects import CONDEMNED, RemoteObjects, pack_object
from tournant.domain.data import Collection
from tournant.domain.machine import SharedStep
from tournant.errors import Unavailable

__all__ = ["STEPS", "collect_remote"]

STEPS = "steps"  # the shared step cache: one file a key
STEP_SECONDS = 90 * 86_400.0  # a cache, not an archive: after that a step is made again, and filed again

_WORTH = 0.5  # of a pack at most is alive when it is rewritten
_NOTICE_SECONDS = 7 * 86_400.0  # a notice this old is of a push that was killed


def collect_remote(objects: Objects, remote: RemoteObjects, versions: str, *, dry_run: bool) -> Collection:
    """Remove what no version filed under `versions`, no step shared lately and no push that is going on reaches."""
    remote.packs.with_condemned = True
    try:
        return _collect(objects, remote, versions, dry_run=dry_run)
    except FileNotFoundError as exc:  # another collection was quicker
        raise Unavailable(f"another garbage collection is at work at {remote.bucket.url}: try again after it") from exc
    finally:
        remote.packs.with_condemned = False
        remote.index.reconcile()


def _collect(objects: Objects, remote: RemoteObjects, versions: str, *, dry_run: bool) -> Collection:
    remote.index.reconcile()
    reach = Reach(remote)
    reach.mark(_roots(remote, versions))
    found = _count(remote.index, reach.live)
    victims = _victims(remote, reach.live)
    if not dry_run:
        living = {item.name for item in _living_steps(remote)}
        remote.bucket.delete([item.name for item in remote.bucket.list(STEPS) if item.name not in living])
    if dry_run or not (victims or _condemned(remote)):
        return found
    for pack in victims:
        remote.bucket.put(f"{CONDEMNED}/{pack.name}", b"")
    condemned = _condemned(remote)
    roots = _roots(remote, versions)
    remote.index.reconcile()  # the packs of those roots that were filed meanwhile
    reach = Reach(remote)  # what was not there a moment ago must be looked at again
    reach.mark(roots)
    if reach.damaged:
        raise Unavailable(f"{remote.bucket.url} could not be read whole; nothing was removed. See tournant data fsck")
    _rescue(objects, remote, reach, condemned)
    remote.bucket.delete([pack_object(name) for name in condemned])
    remote.bucket.delete([f"{CONDEMNED}/{name}" for name in condemned])
    return found


def _roots(remote: RemoteObjects, versions: str) -> list[bytes]:
    """Give the trees of all projects' versions, and those of pushes that are going on."""
    roots = []
    for name, *_ in remote.bucket.list(versions):
        content = remote.index.recall(f"version {name}")
        if content is None:
            data = remote.bucket.get(name)
            content = data.decode() if data else "{}"
        roots.append(msgspec.json.decode(content, type=_Rooted).digest)
    for item in _living_steps(remote):
        place = f"step {item.name} {item.modified}"
        known = remote.index.recall(place)
        if known is None:
            data = remote.bucket.get(item.name)
            known = " ".join(_outs(data)) if data else ""
            remote.index.remember(place, known)
        roots += known.split()
    for name, *_ in remote.bucket.list(PENDING):
        data = remote.bucket.get(name)
        notice = msgspec.json.decode(data, type=Notice) if data else None
        if notice and time.time() - notice.at < _NOTICE_SECONDS:
            roots += notice.roots
    return [bytes.fromhex(root) for root in roots if root]


def _living_steps(remote: RemoteObjects) -> list[Listed]:
    return [item for item in remote.bucket.list(STEPS) if time.time() - item.modified < STEP_SECONDS]


def _outs(data: bytes) -> list[str]:
    try:
        return list(msgspec.json.decode(data, type=SharedStep).entry.outs.values())
    except msgspec.DecodeError:
        return []


class _Rooted(msgspec.Struct):
    digest: str = ""


def _condemned(remote: RemoteObjects) -> list[str]:
    return [Path(item.name).name for item in remote.bucket.list(CONDEMNED)]


def _victims(remote: RemoteObjects, live: set[bytes]) -> list[PackUse]:
    """Give the packs that are mostly dead.

    Those that are younger than a push that is going on are probably its own, reached once its last object has come. To take
    them would be no loss, since the push would send them again, but a waste.
    """
    begun = min((item.modified for item in remote.bucket.list(PENDING)), default=math.inf)
    found = []
    for pack in remote.index.packs():
        alive = sum(entry.stored for entry in remote.index.entries_of(pack.name) if entry.key in live)
        if alive < _WORTH * pack.size_bytes and remote.packs.modified.get(pack.name, 0.0) < begun:
            found.append(pack)
    return found


def _count(index: ObjectIndex, live: set[bytes]) -> Collection:
    dead = [stored for key, stored in index.sizes() if key not in live]
    return Collection(objects=len(dead), size_bytes=sum(dead), kept_objects=len(live))


def _rescue(objects: Objects, remote: RemoteObjects, reach: Reach, condemned: list[str]) -> None:
    """Send what is alive and only in condemned packs again, in new ones."""
    going = set(condemned)
    staying: set[bytes] = set()
    for pack in remote.index.packs():
        if pack.name not in going:
            staying.update(entry.key for entry in remote.index.entries_of(pack.name))
    alive: dict[bytes, Place] = {}
    for name in condemned:
        for entry in remote.index.entries_of(name):
            if entry.key in reach.live and entry.key not in staying:
                alive[entry.key] = Place(name, entry)
    Sender(objects, remote, None).send_entries(remote.read_places(alive.values()))
