"""The content store under stress: killed at any moment, used by several processes, collected, damaged, mended."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from tournant.adapters.blobs.keeper import LocalKeeper
from tournant.adapters.blobs.local import LocalBlobStore
from tournant.domain.data import TreeChanges, Workspace
from tournant.errors import Damaged, Invalid, NotFound, Unavailable


def fill(folder: Path, count: int, *, seed: int = 0, large: int = 0) -> Path:
    chance = random.Random(seed)
    for number in range(count):
        path = folder / f"{number % 7}" / f"f{number}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(chance.randbytes(chance.randint(0, 9_000)))
    if large:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "large.bin").write_bytes(chance.randbytes(large))
    return folder


def read(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def collect(store: LocalBlobStore, *roots: str, grace_seconds: float = 0.0, dry_run: bool = False):
    return LocalKeeper(store).collect(lambda: roots, grace_seconds=grace_seconds, dry_run=dry_run)


def sound(root: Path, *roots: str) -> None:
    found = LocalKeeper(LocalBlobStore(root)).check({digest: digest for digest in roots})
    assert found.sound, found


def test_only_the_change_of_a_large_file_is_stored(tmp_path):
    """An insertion in the middle and an append cost little more than themselves, metadata included."""
    chance = random.Random(1)
    content = chance.randbytes(40_000_000)
    source = tmp_path / "large.bin"
    source.write_bytes(content)
    store = LocalBlobStore(tmp_path / "store")
    store.put_tree(source)
    before = size_of(tmp_path / "store" / "packs")
    inserted, appended = chance.randbytes(1_000_000), chance.randbytes(5_000_000)
    source.write_bytes(content[:20_000_000] + inserted + content[20_000_000:] + appended)
    second = store.put_tree(source)
    assert size_of(tmp_path / "store" / "packs") - before < 1.10 * 6_000_000
    store.checkout(second.digest, tmp_path / "out" / "large.bin")
    assert (tmp_path / "out" / "large.bin").read_bytes() == source.read_bytes()


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def test_large_content_is_read_from_its_middle(tmp_path):
    """Seeking loads what is touched; the whole can be had as a file."""
    folder = fill(tmp_path / "in", 0, large=3_000_000)
    store = LocalBlobStore(tmp_path / "store")
    (file,) = store.tree(store.put_tree(folder).digest).files.values()
    content = (folder / "large.bin").read_bytes()
    with store.open(file.digest) as stream:
        stream.seek(1_234_567)
        assert stream.read(1000) == content[1_234_567:1_235_567]
        stream.seek(-10, 2)
        assert stream.read() == content[-10:]
    assert store.path(file.digest).read_bytes() == content


def test_collection_removes_what_nothing_reaches_and_nothing_else(tmp_path):
    """Shared chunks and files stay; a dry run only counts."""
    store = LocalBlobStore(tmp_path / "store")
    folder = fill(tmp_path / "in", 60, large=2_000_000)
    first = store.put_tree(folder).digest
    loose = store.put(b"nobody wants it")
    fill(folder, 30, seed=1)
    (folder / "large.bin").write_bytes((folder / "large.bin").read_bytes()[:600_000])
    second = store.put_tree(folder).digest
    size = size_of(tmp_path / "store" / "packs")
    planned = collect(store, second, dry_run=True)
    assert planned.objects > 30
    assert size_of(tmp_path / "store" / "packs") == size
    assert collect(store, second) == planned
    assert not store.has(loose)
    assert size_of(tmp_path / "store" / "packs") < size
    store.checkout(second, tmp_path / "out")
    assert read(tmp_path / "out") == read(folder)
    with pytest.raises(NotFound):
        store.checkout(first, tmp_path / "old")
    sound(tmp_path / "store", second)
    assert collect(store, second).objects == 0


def test_a_collected_file_is_stored_again(tmp_path):
    """What the stat index remembers of a file does not outlive the content."""
    store = LocalBlobStore(tmp_path / "store")
    folder = fill(tmp_path / "in", 20, large=600_000)
    time.sleep(0.02)
    digest = store.put_tree(folder).digest
    collect(store)
    assert store.put_tree(folder).digest == digest
    store.checkout(digest, tmp_path / "out")
    assert read(tmp_path / "out") == read(folder)


def test_what_was_just_stored_is_spared(tmp_path):
    """Nobody refers to it yet, but will."""
    store = LocalBlobStore(tmp_path / "store")
    digest = store.put_tree(fill(tmp_path / "in", 5)).digest
    single = store.put(b"single")
    assert collect(store, grace_seconds=60).objects == 0
    assert store.has(single)
    sound(tmp_path / "store", digest)


def test_many_small_packs_become_one(tmp_path):
    """And everything in them is still found."""
    store = LocalBlobStore(tmp_path / "store")
    digests = []
    for number in range(12):
        (tmp_path / "f").write_bytes(bytes([number]) * 1000)
        digests.append(store.put_tree(tmp_path / "f").digest)
    assert len(list((tmp_path / "store" / "packs").iterdir())) == 12
    collect(store, *digests)
    assert len(list((tmp_path / "store" / "packs").iterdir())) == 1
    sound(tmp_path / "store", *digests)


def test_the_index_is_rebuilt_from_the_packs(tmp_path):
    """Losing it loses nothing."""
    digest = LocalBlobStore(tmp_path / "store").put_tree(fill(tmp_path / "in", 50, large=900_000)).digest
    for path in (tmp_path / "store").glob("*.db*"):
        path.unlink()
    store = LocalBlobStore(tmp_path / "store")
    store.checkout(digest, tmp_path / "out")
    assert read(tmp_path / "out") == read(tmp_path / "in")
    sound(tmp_path / "store", digest)


@pytest.mark.parametrize("at", [0.02, 0.3, 0.5, 0.7, 0.97, 0.999])
def test_a_flipped_bit_is_never_read_as_content(tmp_path, at):
    """Wherever it is in a pack: an error, or nothing was hit; fsck finds it."""
    store = LocalBlobStore(tmp_path / "store")
    digest = store.put_tree(fill(tmp_path / "in", 40, large=400_000)).digest
    (pack,) = (tmp_path / "store" / "packs").iterdir()
    flip(pack, int(at * pack.stat().st_size))
    found = LocalKeeper(LocalBlobStore(tmp_path / "store")).check({digest: "x@1"})
    assert not found.sound
    try:
        store.checkout(digest, tmp_path / "out")
    except Damaged as error:
        assert "tournant data fsck" in error.message
        assert not (tmp_path / "out").exists()
    else:  # the pack's own index was hit; the store has another
        assert found.damaged_packs
        assert read(tmp_path / "out") == read(tmp_path / "in")


def flip(path: Path, position: int) -> None:
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(position)
        byte = file.read(1)
        file.seek(position)
        file.write(bytes([byte[0] ^ 4]))
    path.chmod(0o444)


def test_changes_of_a_workspace(tmp_path):
    """Added, modified and removed files, empty folders too; files that look unchanged are believed."""
    store = LocalBlobStore(tmp_path / "store")
    folder = fill(tmp_path / "in", 30)
    (folder / "empty").mkdir()
    workspace = Workspace(path=str(folder), dataset="d", version="d@1", digest=store.put_tree(folder).digest)
    keeper = LocalKeeper(store)
    assert keeper.changes(workspace) == TreeChanges()
    (folder / "0" / "f0.bin").write_bytes(b"changed")
    (folder / "1" / "f1.bin").unlink()
    (folder / "empty").rmdir()
    (folder / "new").write_bytes(b"")
    (folder / ".tournantignore").write_text("*.tmp\n")
    (folder / "x.tmp").write_text("never mind")
    assert keeper.changes(workspace) == TreeChanges(
        added=(".tournantignore", "new"), modified=("0/f0.bin",), removed=("1/f1.bin", "empty")
    )


@pytest.mark.parametrize("name", ["a b", "ü–é", "new\nline", "-rf", "'\"\\", "x" * 250, "%41", "#", "CON", "🙂"])
def test_odd_names_come_back(tmp_path, name):
    """As they were."""
    folder = tmp_path / "in" / name
    folder.mkdir(parents=True)
    (folder / name).write_bytes(b"x")
    (folder / "empty").write_bytes(b"")
    (tmp_path / "in" / "bare" / name).mkdir(parents=True)
    store = LocalBlobStore(tmp_path / "store")
    store.checkout(store.put_tree(tmp_path / "in").digest, tmp_path / "out")
    assert read(tmp_path / "out") == read(tmp_path / "in")
    assert (tmp_path / "out" / "bare" / name).is_dir()


def test_what_cannot_be_kept_is_named(tmp_path):
    """Names that are no text, pipes, links that lead nowhere or to folders."""
    store = LocalBlobStore(tmp_path / "store")
    folder = fill(tmp_path / "in", 2)
    (folder / "link").symlink_to("nowhere")
    with pytest.raises(Invalid, match=r"link links to .*nowhere, which is not there"):
        store.put_tree(folder)
    (folder / "link").unlink()
    (folder / "link").symlink_to("0")
    with pytest.raises(Invalid, match="links to a folder"):
        store.put_tree(folder)
    (folder / "link").unlink()
    os.mkfifo(folder / "pipe")
    with pytest.raises(Invalid, match="pipe is a pipe, socket or device"):
        store.put_tree(folder)
    (folder / "pipe").unlink()
    os.close(os.open(os.fsencode(folder) + b"/\xff\xfe", os.O_CREAT | os.O_WRONLY))
    with pytest.raises(Invalid, match="not UTF-8"):
        store.put_tree(folder)
    (folder / ".tournantignore").write_text("pipe\nlink\n")
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff\xfe")).unlink()
    os.mkfifo(folder / "pipe")
    assert store.put_tree(folder).files == 3


def test_a_file_that_is_written_while_it_is_read_is_refused(tmp_path):
    """Half of the old and half of the new is nobody's data."""
    source = tmp_path / "growing.bin"
    source.write_bytes(os.urandom(60_000_000))
    store = LocalBlobStore(tmp_path / "store")
    script = f"import time\nwhile True:\n open({str(source)!r}, 'ab').write(b'x' * 1000)\n time.sleep(0.001)"
    with subprocess.Popen([sys.executable, "-c", script]) as writer:
        try:
            time.sleep(0.3)
            with pytest.raises(Invalid, match=r"growing\.bin changed while it was read"):
                store.put_tree(source)
        finally:
            writer.kill()


def test_a_full_disk_is_explained_and_harms_nothing(tmp_path):
    """A refusal by the system at the last moment, when content is put on the disk."""
    folder = fill(tmp_path / "in", 10)
    store = LocalBlobStore(tmp_path / "store")
    digest = store.put_tree(folder).digest
    (tmp_path / "large").write_bytes(os.urandom(3_000_000))
    script = (
        "import errno, os\nfrom pathlib import Path\n"
        "from tournant.adapters.blobs.local import LocalBlobStore\n"
        "def full(_): raise OSError(errno.ENOSPC, 'No space left on device')\n"
        "os.fsync = full\n"
        f"LocalBlobStore(Path({str(tmp_path / 'store')!r})).put_tree(Path({str(tmp_path / 'large')!r}))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert "The disk is full: make room" in done.stderr
    assert Unavailable.__name__ in done.stderr
    sound(tmp_path / "store", digest)
    assert not list((tmp_path / "store" / "incoming").iterdir())


KILLED = """
import sys
from pathlib import Path
from tournant.adapters.blobs.keeper import LocalKeeper
from tournant.adapters.blobs.local import LocalBlobStore
store = LocalBlobStore(Path(sys.argv[1]))
print("ready", flush=True)
if sys.argv[2] == "add":
    print(store.put_tree(Path(sys.argv[3])).digest)
elif sys.argv[2] == "checkout":
    store.checkout(sys.argv[3], Path(sys.argv[4]))
else:
    LocalKeeper(store).collect(lambda: sys.argv[3:], grace_seconds=0)
"""


def kill_after(seconds: float, *arguments: str) -> bool:
    """Run a store command and kill it; tell whether it had ended before."""
    with subprocess.Popen([sys.executable, "-c", KILLED, *arguments], stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)
        return process.wait() == 0


def test_killed_at_any_moment_nothing_kept_is_lost(tmp_path):
    """Add, checkout and garbage collection, killed at growing delays, leave a sound store and whole workspaces."""
    root = tmp_path / "store"
    old, new = fill(tmp_path / "old", 300, large=8_000_000), fill(tmp_path / "new", 300, seed=2, large=8_000_000)
    kept = LocalBlobStore(root).put_tree(old).digest
    target = tmp_path / "out"
    LocalBlobStore(root).checkout(kept, target)
    before, after = read(old), read(new)
    ended = 0
    for attempt in range(10):
        ended += kill_after(0.004 * attempt, str(root), "add", str(new))
        sound(root, kept)
    digest = LocalBlobStore(root).put_tree(new).digest
    for attempt in range(10):
        ended += kill_after(0.006 * attempt, str(root), "checkout", digest, str(target))
        assert read(target) in (before, after)
        sound(root, kept, digest)
    for attempt in range(8):
        LocalBlobStore(root).put_tree(fill(tmp_path / "waste", 200, seed=attempt + 5))
        ended += kill_after(0.004 * attempt, str(root), "collect", kept, digest)
        sound(root, kept, digest)
    assert ended < 28  # else nothing was killed
    LocalBlobStore(root).checkout(digest, target)
    assert read(target) == after


ADDING = """
import random, sys
from pathlib import Path
from tournant.adapters.blobs.local import LocalBlobStore
store, folder, chance = LocalBlobStore(Path(sys.argv[1])), Path(sys.argv[2]), random.Random(int(sys.argv[3]))
kept = Path(sys.argv[4])
for turn in range(12):
    for number in range(40):
        (folder / f"f{number}").write_bytes(random.Random(chance.randint(0, 60)).randbytes(3000))
    digest = store.put_tree(folder).digest
    (kept / digest).touch()
"""


def test_adds_and_collections_of_four_processes_lose_nothing(tmp_path):
    """Content shared between them is collected by one while others store it again."""
    root, kept = tmp_path / "store", tmp_path / "kept"
    kept.mkdir()
    adders = []
    for number in range(3):
        (tmp_path / f"in{number}").mkdir()
        arguments = [str(root), str(tmp_path / f"in{number}"), str(number), str(kept)]
        adders.append(subprocess.Popen([sys.executable, "-c", ADDING, *arguments]))
    store = LocalBlobStore(root)
    while any(adder.poll() is None for adder in adders):
        LocalKeeper(store).collect(lambda: [path.name for path in kept.iterdir()], grace_seconds=5.0)
    assert [adder.returncode for adder in adders] == [0, 0, 0]
    digests = [path.name for path in kept.iterdir()]
    assert len(digests) > 20
    sound(root, *digests)
    collect(store, *digests)
    sound(root, *digests)


def test_a_pack_that_comes_out_as_it_was_stays(tmp_path):
    """What is little beside its pack's own overhead is packed anew under the same name; that is not what has to go."""
    (tmp_path / "in").mkdir()
    store = LocalBlobStore(tmp_path / "store")
    digest = store.put_tree(tmp_path / "in").digest
    for _ in range(2):
        collect(store, digest)
        sound(tmp_path / "store", digest)


class StoreMachine(RuleBasedStateMachine):
    """Adds, forgets, collects and checks out in any order; what is kept is always whole."""

    trees = Bundle("trees")

    @initialize()
    def start(self):
        import tempfile

        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name)
        self.store = LocalBlobStore(self.path / "store")
        self.kept: dict[str, dict[str, bytes]] = {}
        self.turn = 0

    @rule(target=trees, files=st.dictionaries(st.sampled_from(["a", "b/c", "b/d", "e"]), st.integers(0, 4), max_size=4))
    def add(self, files):
        self.turn += 1
        source = self.path / f"in{self.turn}"
        source.mkdir()
        for name, kind in files.items():
            (source / name).parent.mkdir(exist_ok=True)
            (source / name).write_bytes(random.Random(kind).randbytes(kind * 150_000))
        digest = self.store.put_tree(source).digest
        self.kept[digest] = read(source)
        return digest

    @rule(tree=trees)
    def forget(self, tree):
        self.kept.pop(tree, None)

    @rule()
    def collect(self):
        collect(self.store, *self.kept)

    @rule()
    def reopen(self):
        self.store = LocalBlobStore(self.path / "store")

    @rule(tree=trees)
    def checkout(self, tree):
        if tree in self.kept:
            self.store.checkout(tree, self.path / "out")
            assert read(self.path / "out") == self.kept[tree]

    @invariant()
    def whole(self):
        if hasattr(self, "store"):
            assert LocalKeeper(self.store).check({digest: digest for digest in self.kept}).sound

    def teardown(self):
        if hasattr(self, "folder"):
            self.folder.cleanup()


TestStoreMachine = StoreMachine.TestCase
TestStoreMachine.settings = settings(
    max_examples=15, stateful_step_count=12, deadline=None, suppress_health_check=list(HealthCheck)
)
