"""What every content store does."""

import os
import threading
from io import BytesIO
from pathlib import Path

import pytest
from blake3 import blake3
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tournant.adapters.blobs.local import LocalBlobStore
from tournant.adapters.blobs.manifests import Entry, encode_tree
from tournant.errors import Invalid, NotFound
from tournant.ports import BlobStore

NAMES = st.text(
    st.characters(blacklist_characters="/\0", blacklist_categories=("Cs",)), min_size=1, max_size=20
).filter(lambda name: name not in (".", "..") and len(name.encode()) < 100)
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)


@pytest.fixture(params=[LocalBlobStore])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> BlobStore:
    return request.param(tmp_path / "store")


def write(root: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def read(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.mark.parametrize("content", [b"", b"x", b"y" * 3_000_000])
def test_content_comes_back_under_its_blake3_digest(store, content):
    """What was put is read again, by the digest anybody can compute."""
    digest = store.put(BytesIO(content))
    assert digest == blake3(content).hexdigest() == store.put(content)
    with store.open(digest) as stored:
        assert stored.read() == content == store.path(digest).read_bytes()
    assert store.has(digest)


def test_stored_content_cannot_be_written(store):
    """A stored file is read-only."""
    assert store.path(store.put(b"x")).stat().st_mode & 0o222 == 0


def test_absent_content_is_not_found(store):
    """An unknown digest is NotFound, a malformed one Invalid."""
    assert not store.has("0" * 64)
    with pytest.raises(NotFound, match="0000"):
        store.open("0" * 64)
    with pytest.raises(Invalid, match="64 hexadecimal"):
        store.path("../../etc/passwd")


def test_a_source_that_breaks_leaves_nothing(store, tmp_path):
    """When reading the source fails half-way, the store holds no trace of it."""

    class Breaking(BytesIO):
        def read(self, size=-1):
            if self.tell() > 0:
                raise OSError("unplugged")
            return super().read(4)

    with pytest.raises(OSError, match="unplugged"):
        store.put(Breaking(b"12345678"))
    assert [path for path in (tmp_path / "store").rglob("*") if path.is_file() and path.stat().st_size] == []


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(PATHS, st.binary(max_size=50), min_size=1, max_size=6))
def test_trees_come_back_as_they_were(store, tmp_path_factory, files):
    """Any folder of files is the same after put_tree and checkout, and the same folder has the same digest."""
    names = sorted(files)
    if any(other.startswith(name + "/") for name in names for other in names):
        return  # a file cannot be a folder too
    folder = write(tmp_path_factory.mktemp("tree") / "in", files)
    summary = store.put_tree(folder)
    digest, tree = summary.digest, store.tree(summary.digest)
    assert (summary.files, summary.size_bytes) == (len(tree.files), tree.size_bytes)
    assert {name: file.digest for name, file in tree.files.items()} == {
        n: blake3(c).hexdigest() for n, c in files.items()
    }
    store.checkout(digest, folder.parent / "out")
    assert read(folder.parent / "out") == files
    assert store.put_tree(folder.parent / "out").digest == digest


def test_a_single_file_is_a_tree_of_its_own_name(store, tmp_path):
    """One file is stored under its name and checked out to it."""
    digest = store.put_tree(write(tmp_path, {"data.csv": b"a"}) / "data.csv").digest
    assert list(store.tree(digest).files) == ["data.csv"]
    store.checkout(digest, tmp_path / "there" / "data.csv")
    assert (tmp_path / "there" / "data.csv").read_bytes() == b"a"


def test_checkout_replaces_what_differs_and_spares_what_does_not(store, tmp_path):
    """A changed file is put right; equal content is not written again."""
    digest = store.put_tree(write(tmp_path / "in", {"a": b"1", "b/c": b"2"})).digest
    target = tmp_path / "out"
    store.checkout(digest, target)
    before = (target / "a").stat().st_ino
    store.checkout(digest, target)
    assert (target / "a").stat().st_ino == before
    write(target, {"a": b"changed", "extra": b"3"})
    store.checkout(digest, target)
    assert read(target) == {"a": b"1", "b/c": b"2"}


def test_changed_content_is_noticed_even_if_its_size_is_the_same(store, tmp_path):
    """A file rewritten with other bytes of the same length gets another digest."""
    folder = write(tmp_path / "in", {"a": b"1111"})
    first = store.put_tree(folder).digest
    write(folder, {"a": b"2222"})
    assert store.put_tree(folder).digest != first


def test_executable_files_stay_executable(store, tmp_path):
    """The executable bit is kept."""
    folder = write(tmp_path / "in", {"run.sh": b"#!/bin/sh"})
    (folder / "run.sh").chmod(0o755)
    digest = store.put_tree(folder).digest
    store.checkout(digest, tmp_path / "out")
    assert os.access(tmp_path / "out" / "run.sh", os.X_OK)


def test_a_link_out_of_the_folder_is_refused(store, tmp_path):
    """A symbolic link that leaves the tree is an error that names it; one inside is followed."""
    folder = write(tmp_path / "in", {"a": b"1"})
    (folder / "inside").symlink_to("a")
    assert set(store.tree(store.put_tree(folder).digest).files) == {"a", "inside"}
    (folder / "outside").symlink_to("/etc/hostname")
    with pytest.raises(Invalid, match="outside"):
        store.put_tree(folder)


@pytest.mark.parametrize("name", ["../escape", "/absolute", "a/../../b"])
def test_a_manifest_cannot_write_outside_its_target(store, tmp_path, name):
    """A tree made by somebody else cannot leave the folder it is checked out to."""
    with store.objects.writing() as writer:
        digest, *_ = encode_tree(
            [Entry(name, blake3(b"x").digest(), 1, 0)], lambda nodes: [writer.add(*node) for node in nodes]
        )
    with pytest.raises(Invalid, match="leave its folder"):
        store.checkout(digest.hex(), tmp_path / "target")
    assert not (tmp_path / "escape").exists()


def test_concurrent_writers_of_one_content_agree(store):
    """Threads that store the same and other content at once lose nothing."""
    contents = [bytes([i % 5]) * 100_000 for i in range(20)]
    digests: list[str] = []
    threads = [threading.Thread(target=lambda c=c: digests.append(store.put(c))) for c in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(digests) == sorted(blake3(content).hexdigest() for content in contents)
    assert all(store.has(digest) for digest in digests)
