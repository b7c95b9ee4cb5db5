"""A remote: packs that all projects share, and each project's versions, each filed once and never changed."""

import hashlib
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import BinaryIO

import msgspec

from tournant.adapters.blobs.bucket import open_bucket
from tournant.adapters.blobs.fetch import Fetcher
from tournant.adapters.blobs.files import explained
from tournant.adapters.blobs.local import LocalBlobStore, to_key
from tournant.adapters.blobs.pack import Entry
from tournant.adapters.blobs.push import PENDING, Sender, send_trees
from tournant.adapters.blobs.remote_collect import STEPS, collect_remote
from tournant.adapters.blobs.remote_objects import RemoteObjects
from tournant.adapters.blobs.streaming import open_remote_content
from tournant.domain.data import Collection, DatasetVersion, Remote, Transfer, Tree
from tournant.domain.machine import SharedStep
from tournant.errors import Conflict, Invalid
from tournant.ports import Progress

__all__ = ["VERSIONS", "ObjectStoreRemote"]

VERSIONS = "versions"
_SEEN_SECONDS = 7 * 86_400.0  # a step that garbage collection took is missed so much later at most


class ObjectStoreRemote:
    """Dataset versions in a folder or bucket. `docs/explanation/content-store.md` says what is there and why it is safe."""

    def __init__(self, store: LocalBlobStore, remote: Remote, environ: Mapping[str, str]) -> None:
        """Move between `store` and `remote`; nothing is asked of the remote yet."""
        self._store = store
        self._remote = remote
        self.bucket = open_bucket(remote.url, environ)
        cache = store.objects.root / "remotes" / hashlib.sha256(self.bucket.url.encode()).hexdigest()[:16]
        self._there = RemoteObjects(self.bucket, cache, store.objects.packs)

    def versions(self, dataset: str = "") -> list[DatasetVersion]:
        """Give the versions that our project has there."""
        prefix = f"{VERSIONS}/{self._remote.project}" + (f"/{dataset}" if dataset else "")
        found = []
        for name, *_ in self.bucket.list(prefix):
            content = self._there.index.recall(f"version {name}")
            if content is None:
                data = self.bucket.get(name)
                if data is None:
                    continue
                content = data.decode()
                self._there.index.remember(f"version {name}", content)
            found.append(_read_version(content, f"{self.bucket.url}/{name}"))
        return sorted(found, key=lambda version: (version.dataset, version.number))

    def push(self, versions: Sequence[DatasetVersion], *, progress: Progress | None = None) -> Transfer:
        """Send versions; what is there already costs no more than asking."""
        before = self.bucket.requests
        dataset = versions[0].dataset if len({version.dataset for version in versions}) == 1 else ""
        there = {version.id: version for version in self.versions(dataset)}
        for version in versions:
            self._check_same(version, there.get(version.id))
        new = [version for version in versions if version.id not in there]
        sender = Sender(self._store.objects, self._there, progress)
        if new:
            with explained(f"cannot push to {self.bucket.url}"), self._store.objects.lock.shared():
                self._send(new, sender)
        return Transfer(
            objects=sender.sent_objects,
            size_bytes=sender.sent_bytes,
            versions=tuple(version.id for version in new),
            requests=self.bucket.requests - before,
        )

    def _send(self, versions: Sequence[DatasetVersion], sender: Sender) -> None:
        roots = list(dict.fromkeys(to_key(version.digest) for version in versions))
        with self._sent(roots, sender):
            for version in versions:
                self._file(version)

    @contextmanager
    def _sent(self, roots: Sequence[bytes], sender: Sender) -> Iterator[None]:
        """Send trees; until the end of the context, in which they are filed, garbage collection there spares them."""
        notice = f"{PENDING}/{os.urandom(16).hex()}"
        try:
            send_trees(self._store.objects, self._there, roots, sender, notice=notice)
            yield
        finally:
            self.bucket.delete([notice])

    def _file(self, version: DatasetVersion) -> None:
        name = f"{VERSIONS}/{self._remote.project}/{version.dataset}/{version.number}.json"
        content = msgspec.json.encode(version)
        if not self.bucket.create(name, content):
            other = self.bucket.get(name)
            self._check_same(version, _read_version(other.decode(), name) if other else None)
        self._there.index.remember(f"version {name}", content.decode())

    def _check_same(self, version: DatasetVersion, other: DatasetVersion | None) -> None:
        if other and other.digest != version.digest:
            raise Conflict(
                f"{self.bucket.url} has another {version.id} of project {self._remote.project!r}, made apart from this one: "
                "pull it under another home, or push as another project: tournant remotes add NAME URL --project PROJECT"
            )

    def fetch(self, digest: str, *, under: str = "", progress: Progress | None = None) -> Transfer:
        """Get a tree, or the part of it under a path, into the content store."""
        before = self.bucket.requests
        fetcher = Fetcher(self._store.objects, self._there, progress)
        with explained(f"cannot fetch into {self._store.objects.root}"):
            fetcher.fetch_tree(to_key(digest), under.strip("/"))
        return Transfer(objects=fetcher.objects, size_bytes=fetcher.size_bytes, requests=self.bucket.requests - before)

    def find_step(self, key: str) -> SharedStep | None:
        """Read what the step cache answers to a key; what cannot be read is no answer."""
        data = self.bucket.get(_step_object(key))
        if data is None:
            return None
        try:
            found = msgspec.json.decode(data, type=SharedStep)
        except msgspec.DecodeError:
            return None
        if found.entry.key != key:
            return None
        self._remember_step(key)
        return found

    def push_steps(self, made: Sequence[SharedStep], *, where_absent: Sequence[SharedStep] = ()) -> Transfer:
        """Send steps' outs, and file them under their keys: whoever `made` a step had no use of what was filed there."""
        before = self.bucket.requests
        sender = Sender(self._store.objects, self._there, None)
        steps = [*made, *(step for step in where_absent if not self._has_step(step.entry.key))]
        if steps:
            roots = {to_key(digest) for step in steps for digest in step.entry.outs.values()}
            cannot = explained(f"cannot push to {self.bucket.url}")
            with cannot, self._store.objects.lock.shared(), self._sent(list(roots), sender):
                for step in steps:
                    self.bucket.put(_step_object(step.entry.key), msgspec.json.encode(step))
                    self._remember_step(step.entry.key)
        return Transfer(
            objects=sender.sent_objects,
            size_bytes=sender.sent_bytes,
            steps=len(steps),
            requests=self.bucket.requests - before,
        )

    def _has_step(self, key: str) -> bool:
        """Tell whether a step is filed; what was seen lately is not asked for again."""
        seen = self._there.index.recall(f"seen {_step_object(key)}")
        if seen and time.time() - float(seen) < _SEEN_SECONDS:
            return True
        found = self.bucket.head(_step_object(key)) is not None
        if found:
            self._remember_step(key)
        return found

    def _remember_step(self, key: str) -> None:
        self._there.index.remember(f"seen {_step_object(key)}", str(time.time()))

    def tree(self, digest: str) -> Tree:
        """Read a tree manifest that is there, without its files."""
        fetcher = Fetcher(self._store.objects, self._there, None)
        fetcher.fetch_manifest(to_key(digest))
        return self._store.tree(digest)

    def open(self, digest: str) -> BinaryIO:
        """Open content for reading; only the chunks that are read come."""
        return open_remote_content(self._store.objects, self._there, to_key(digest))

    def objects(self, digests: Iterable[bytes]) -> Iterator[tuple[Entry, bytes]]:
        """Give those stored objects that are there."""
        places = self._there.find_many(digests)
        yield from self._there.read_places(sorted(places.values(), key=lambda place: (place.pack, place.entry.offset)))

    def collect(self, *, dry_run: bool = False) -> Collection:
        """Remove what no version of any project, and no push that is going on, reaches."""
        with explained(f"cannot collect garbage at {self.bucket.url}"):
            return collect_remote(self._store.objects, self._there, VERSIONS, dry_run=dry_run)


def _step_object(key: str) -> str:
    return f"{STEPS}/{key}.json"


def _read_version(content: str, place: str) -> DatasetVersion:
    try:
        return msgspec.json.decode(content, type=DatasetVersion)
    except msgspec.DecodeError as exc:
        raise Invalid(f"{place} is not a dataset version: {exc}. Is this the right address?") from exc
