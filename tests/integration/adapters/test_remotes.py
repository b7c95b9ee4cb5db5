"""Remotes: a folder and a real S3 server, several projects, pushes and collections at once, damage and repair."""

import contextlib
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from s3server import s3_server
from tournant.adapters.blobs.keeper import LocalKeeper
from tournant.adapters.blobs.local import LocalBlobStore
from tournant.adapters.blobs.remote import ObjectStoreRemote
from tournant.domain.data import DatasetVersion, Remote
from tournant.errors import Conflict, Invalid, NotFound, Unavailable


@pytest.fixture(scope="module")
def server() -> Iterator[dict[str, str]]:
    with s3_server("bucket") as environ, pytest.MonkeyPatch.context() as patch:
        for name, value in environ.items():
            patch.setenv(name, value)
        yield environ


@pytest.fixture(params=["folder", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, dict[str, str]]:
    if request.param == "folder":
        return str(tmp_path / "remote"), {}
    return f"s3://bucket/{tmp_path.name}", request.getfixturevalue("server")


class Project:
    """One project's store and its view of the remote."""

    def __init__(self, root: Path, place: tuple[str, dict[str, str]], project: str) -> None:
        self.store = LocalBlobStore(root / "store")
        self.keeper = LocalKeeper(self.store)
        remote = Remote(name="origin", url=place[0], project=project, created_at=0.0)
        self.remote = ObjectStoreRemote(self.store, remote, place[1])
        self.root = root
        self.number = 0

    def add(self, files: dict[str, bytes], name: str = "data") -> DatasetVersion:
        self.number += 1
        folder = self.root / f"in{self.number}"
        for path, content in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
        tree = self.store.put_tree(folder)
        return DatasetVersion(
            id=f"{name}@{self.number}",
            dataset=name,
            number=self.number,
            digest=tree.digest,
            files=tree.files,
            size_bytes=tree.size_bytes,
            created_at=1.0,
        )

    def has(self, version: DatasetVersion) -> dict[str, bytes]:
        target = self.root / "out"
        self.store.checkout(version.digest, target)
        return {p.relative_to(target).as_posix(): p.read_bytes() for p in target.rglob("*") if p.is_file()}


def noise(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)


def files(count: int, seed: int = 0) -> dict[str, bytes]:
    return {f"d{n % 5}/f{n}": noise(seed * 1000 + n, 2000 + n) for n in range(count)}


@pytest.fixture
def one(tmp_path: Path, place) -> Project:
    return Project(tmp_path / "one", place, "one")


def again(tmp_path: Path, place, project: str = "one") -> Project:
    return Project(tmp_path / f"again-{time.time_ns()}", place, project)


def test_versions_travel_and_come_back(one, tmp_path, place):
    """Small and large files, and the record."""
    content = {**files(50), "large.bin": noise(1, 3_000_000)}
    version = one.add(content)
    sent = one.remote.push([version])
    assert sent.versions == ("data@1",)
    assert sent.requests < 15
    clone = again(tmp_path, place)
    assert clone.remote.versions() == [version]
    clone.remote.fetch(version.digest)
    assert clone.has(version) == content


def test_a_second_push_sends_nothing(one):
    """And asks little; a small change sends little."""
    content = {**files(200), "large.bin": noise(1, 3_000_000)}
    version = one.add(content)
    one.remote.push([version])
    again = one.remote.push([version])
    assert (again.objects, again.versions) == (0, ())
    assert again.requests <= 2
    second = one.add({**content, "d1/f1": b"changed"})
    assert one.remote.push([version, second]).size_bytes < 40_000


def test_a_part_is_fetched_alone(one, tmp_path, place):
    """Only what is under the path comes, and the rest is not called damage."""
    version = one.add({**files(300), "large.bin": noise(1, 3_000_000)})
    one.remote.push([version])
    clone = again(tmp_path, place)
    moved = clone.remote.fetch(version.digest, under="d3")
    assert moved.size_bytes < 600_000
    entry = clone.store.tree(version.digest).files["d3/f3"]
    assert clone.store.open(entry.digest).read() == noise(3, 2003)
    with pytest.raises(NotFound, match="tournant data fetch"):
        clone.store.checkout(version.digest, tmp_path / "out")
    assert clone.keeper.check({version.digest: version.id}).sound
    with pytest.raises(NotFound, match="no file or folder 'nowhere'"):
        clone.remote.fetch(version.digest, under="nowhere")
    clone.remote.fetch(version.digest)
    assert len(clone.has(version)) == 301


def test_two_contents_of_one_number_conflict(one, tmp_path, place):
    """The second is refused by a conditional put, even when both come at once; another project has numbers of its own."""
    first = one.add(files(3))
    other = again(tmp_path, place)
    second = other.add(files(3, seed=1))
    one.remote.push([first])
    with pytest.raises(Conflict, match="another data@1 of project 'one'"):
        other.remote.push([second])
    apart = again(tmp_path, place, "two")
    apart.remote.push([apart.add(files(3, seed=1))])
    assert [v.digest for v in one.remote.versions()] == [first.digest]

    racers = [again(tmp_path, place, "race") for _ in range(4)]
    outcomes: list[str] = []

    def race(racer: Project, seed: int) -> None:
        version = racer.add(files(4, seed=seed), name="race")
        try:
            racer.remote.push([version])
            outcomes.append(version.digest)
        except Conflict:
            outcomes.append("")

    threads = [threading.Thread(target=race, args=(racer, seed)) for seed, racer in enumerate(racers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (winner,) = filter(None, outcomes)
    assert [v.digest for v in again(tmp_path, place, "race").remote.versions()] == [winner]


def test_collection_by_one_project_spares_the_other(one, tmp_path, place):
    """Two projects on one remote share content; what neither reaches goes."""
    two = again(tmp_path, place, "two")
    shared = files(30)
    mine, theirs = one.add({**shared, "mine": b"1"}), two.add({**shared, "theirs": b"2"})
    one.remote.push([mine])
    two.remote.push([theirs])
    wasted = one.add(files(200, seed=5), name="wasted")
    one.remote.push([wasted])
    one.remote.bucket.delete([f"versions/one/wasted/{wasted.number}.json"])
    assert one.remote.collect(dry_run=True).objects >= 200
    one.remote.collect()
    clone = again(tmp_path, place, "two")
    clone.remote.fetch(theirs.digest)
    assert clone.has(theirs) == {**shared, "theirs": b"2"}
    clone.remote.fetch(mine.digest)
    with pytest.raises(NotFound):
        clone.remote.fetch(wasted.digest)
    one.remote.push([one.add(files(200, seed=5), name="wasted")])  # comes back


PUSHING = """
import os, random, sys
sys.path.insert(0, sys.argv[5])
from pathlib import Path
from test_remotes import Project, noise
from tournant.errors import TournantError
root, url, name, seed = Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
environ = dict(os.environ) if url.startswith("s3") else {}
project, chance = Project(root, (url, environ), name), random.Random(seed)
for turn in range(6):
    version = project.add({f"f{n}": noise(chance.randint(0, 30), 3000) for n in range(20)})
    project.remote.push([version])
    if turn % 2:
        project.remote.bucket.delete([f"versions/{name}/data/{version.number - 1}.json"])
"""


def test_pushes_and_collections_of_four_processes_lose_nothing(one, tmp_path, place):
    """Projects that share content push while two others collect; every version filed is whole."""
    here = [str(Path(__file__).parent), str(Path(__file__).parents[2])]
    paths = {**os.environ, "PYTHONPATH": os.pathsep.join(here)}
    pushers = [
        subprocess.Popen(
            [sys.executable, "-c", PUSHING, str(tmp_path / f"p{n}"), place[0], f"p{n}", str(n), here[0]],
            env=paths,
        )
        for n in range(2)
    ]
    second = again(tmp_path, place, "collector")
    stop = threading.Event()

    def collect(project: Project) -> None:
        while not stop.is_set():
            with contextlib.suppress(Unavailable):  # the other one is at work
                project.remote.collect()

    threads = [threading.Thread(target=collect, args=(project,)) for project in (one, second)]
    for thread in threads:
        thread.start()
    codes = [pusher.wait(300) for pusher in pushers]
    stop.set()
    for thread in threads:
        thread.join()
    assert codes == [0, 0]
    for n in range(2):
        clone = again(tmp_path, place, f"p{n}")
        versions = clone.remote.versions()
        assert versions
        for version in versions:
            clone.remote.fetch(version.digest)
            assert len(clone.has(version)) == 20


def test_a_push_that_is_killed_goes_on(tmp_path):
    """Whatever was sent is found again, and nothing half-sent is filed."""
    place = (str(tmp_path / "remote"), {})
    here = [str(Path(__file__).parent), str(Path(__file__).parents[2])]
    code = (
        "import sys, os\nfrom pathlib import Path\nfrom test_remotes import Project, files, noise\n"
        "p = Project(Path(sys.argv[1]), (sys.argv[2], {}), 'one')\n"
        "v = p.add({**files(60), 'large': noise(1, 8_000_000)})\nprint('ready', flush=True)\np.remote.push([v])\n"
    )
    for attempt in range(6):
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path / f"p{attempt}"), place[0]],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(here)},
        )
        assert process.stdout
        process.stdout.readline()
        time.sleep(0.005 * attempt)
        process.kill()
        process.wait()
        process.stdout.close()
        clone = again(tmp_path, place)
        for version in clone.remote.versions():
            clone.remote.fetch(version.digest)
            assert len(clone.has(version)) == 61
    project = again(tmp_path, place)
    version = project.add({**files(60), "large": noise(1, 8_000_000)})
    project.remote.push([version])
    project.remote.collect()
    clone = again(tmp_path, place)
    clone.remote.fetch(version.digest)
    assert clone.has(version) == {**files(60), "large": noise(1, 8_000_000)}


@pytest.mark.parametrize("at", [0.1, 0.4, 0.8, 0.999])
def test_a_flipped_bit_is_repaired_from_the_remote(one, at):
    """Wherever it is."""
    content = {**files(40), "large": noise(1, 2_000_000)}
    version = one.add(content)
    one.remote.push([version])
    (pack,) = (one.root / "store" / "packs").iterdir()
    pack.chmod(0o644)
    data = bytearray(pack.read_bytes())
    data[int(at * len(data))] ^= 16
    pack.write_bytes(data)
    assert not one.keeper.check({version.digest: version.id}).sound
    mended = one.keeper.check({version.digest: version.id}, repair_from=[one.remote])
    assert mended.sound
    assert one.keeper.check({version.digest: version.id}).sound
    assert one.has(version) == content


def test_a_lost_pack_is_got_again(one):
    """Missing objects are named, then fetched."""
    content = {**files(40), "large": noise(1, 2_000_000)}
    version = one.add(content)
    one.remote.push([version])
    for pack in (one.root / "store" / "packs").iterdir():
        pack.unlink()
    found = one.keeper.check({version.digest: version.id})
    assert found.incomplete == ("data@1",)
    assert one.keeper.check({version.digest: version.id}, repair_from=[one.remote]).sound
    assert one.has(version) == content


def test_what_is_wrong_with_an_address_is_said(tmp_path):
    """An unknown scheme, a server that does not answer, a folder that cannot be."""
    with pytest.raises(Invalid, match=r"'ftp://x' is no address of a remote"):
        Project(tmp_path, ("ftp://x", {}), "one")
    (tmp_path / "file").write_text("")
    with pytest.raises(Unavailable, match="cannot be used"):
        Project(tmp_path, (str(tmp_path / "file" / "inside"), {}), "one")


def test_a_remote_that_vanishes_is_named(tmp_path, monkeypatch):
    """The error says which, and that nothing half-done counts."""
    for name, value in {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_ACCESS_KEY_ID": "x"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    monkeypatch.setattr("tournant.adapters.blobs.bucket._RETRY", {"max_retries": 0})
    project = Project(tmp_path, ("s3://bucket/x", dict(os.environ)), "one")
    with pytest.raises(Unavailable, match="s3://bucket/x cannot be reached"):
        project.remote.push([project.add(files(2))])
