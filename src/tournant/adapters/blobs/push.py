"""Sending trees to a remote that others use and collect garbage on at the same time.

1. Say what is coming: `pending/ID` names the roots, and from now on garbage collection at the remote spares what they reach.
2. List the packs there, and send what is missing: whole packs where most of one is missing, else new packs.
3. List again. A pack that we rely on and that has gone, or is condemned, counts as missing: back to 2.
4. File the versions (`create`: never over another's), and take the notice of step 1 away.

A garbage collection condemns packs before it reads the roots for the last time, so either it sees our notice, or we see
its condemnation in step 3. A push that is killed leaves packs that the next one finds, and at worst a notice.
"""

import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from tournant.adapters.blobs.files import temporary
from tournant.adapters.blobs.objects import Objects, absent
from tournant.adapters.blobs.pack import PACK_BYTES, Entry, PackWriter
from tournant.adapters.blobs.reach import Reach
from tournant.adapters.blobs.remote_objects import CONDEMNED, RemoteObjects, pack_object
from tournant.errors import NotFound, Unavailable
from tournant.ports import Progress

__all__ = ["PENDING", "Notice", "Sender", "send_trees"]

PENDING = "pending"
_ROUNDS = 6
_WHOLE = 0.75  # a pack of which so much is missing is sent as it is


class Notice(msgspec.Struct, frozen=True):
    """What a push that is going on will file."""

    roots: list[str]
    at: float


class Sender:
    """Sends objects to one remote; counts what it sends."""

    def __init__(self, objects: Objects, remote: RemoteObjects, progress: Progress | None) -> None:
        """Send from `objects`."""
        self._objects = objects
        self._remote = remote
        self._progress = progress or (lambda _files, _bytes: None)
        self.sent_objects = 0
        self.sent_bytes = 0

    def send(self, keys: Iterable[bytes]) -> None:
        """Send those of some objects that the remote, by its index, has not."""
        missing = self._remote.index.missing(list(keys))
        for name, entries in self._by_pack(missing).items():
            size = self._objects.packs.path(name).stat().st_size
            if sum(entry.stored for entry in entries) >= _WHOLE * size and not self._condemned(name):
                self._upload(self._objects.packs.path(name), name, self._objects.packs.entries(name))
                missing.difference_update(entry.key for entry in entries)
        if missing:
            self._send_gathered(missing)

    def _by_pack(self, keys: set[bytes]) -> dict[str, list[Entry]]:
        grouped: dict[str, list[Entry]] = {}
        for place in self._objects.index.find_many(keys).values():
            grouped.setdefault(place.pack, []).append(place.entry)
        return grouped

    def _condemned(self, name: str) -> bool:
        return self._remote.bucket.get(f"{CONDEMNED}/{name}") is not None

    def _send_gathered(self, keys: set[bytes]) -> None:
        places = self._objects.index.find_many(keys)
        for key in keys - places.keys():
            raise absent(key)
        ordered = sorted(places.values(), key=lambda place: (place.pack, place.entry.offset))
        self.send_entries(self._objects.read_places(ordered))

    def send_entries(self, entries: Iterable[tuple[Entry, bytes | memoryview]]) -> None:
        """Send objects, in their stored form, in new packs."""
        remaining = iter(entries)
        while self._send_one_pack(remaining):
            pass

    def _send_one_pack(self, entries: Iterable[tuple[Entry, bytes | memoryview]]) -> bool:
        with temporary(self._objects.incoming) as path:
            writer = PackWriter(path, salt=os.urandom(16))
            try:
                for entry, stored in entries:
                    writer.add(entry.key, entry.kind, entry.codec, stored, entry.size)
                    if writer.size_bytes >= PACK_BYTES:
                        break
                if not writer.entries:
                    return False
                name = writer.finish()
            finally:
                writer.discard()
            self._upload(path, name, writer.entries)
        return True

    def _upload(self, path: Path, name: str, entries: Sequence[Entry]) -> None:
        size = path.stat().st_size
        self._remote.bucket.upload(pack_object(name), path)
        self._remote.index.add_pack(name, size, entries)
        self.sent_objects += len(entries)
        self.sent_bytes += size
        self._progress(len(entries), size)


def send_trees(objects: Objects, remote: RemoteObjects, roots: Sequence[bytes], sender: Sender, *, notice: str) -> None:
    """Make all that `roots` reach be at the remote; `notice` is the name of the pending notice, which stays."""
    reach = Reach(objects)
    reach.mark(roots)
    if reach.missing or reach.damaged:
        key = next(iter(reach.missing or reach.damaged))
        raise NotFound(
            f"{len(reach.missing | reach.damaged):,} objects of what is to be pushed are not here, such as {key.hex()[:12]}…: "
            "get them first (tournant data fetch), or see tournant data fsck"
        )
    told = Notice(roots=[root.hex() for root in roots], at=time.time())
    remote.bucket.put(notice, msgspec.json.encode(told))
    for _ in range(_ROUNDS):
        remote.index.reconcile()
        missing = remote.index.missing(list(reach.live))
        if not missing:
            return
        sender.send(missing)
    raise Unavailable(
        f"{remote.bucket.url}: garbage collection there takes packs faster than they are sent. Push again"
    )
