"""Data from elsewhere: addresses, and a repository that the real DVC made."""

import contextlib
import fcntl
import http.server
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import ClassVar

import pytest
from benchmarks.peers import environment

from tournant.bootstrap.datasets import open_data_context
from tournant.config import Settings
from tournant.errors import Conflict, Invalid, NotFound, Unavailable
from tournant.services.context import DataContext
from tournant.services.data import get_dataset_version, list_dataset_versions
from tournant.services.dvc_repository import import_dvc
from tournant.services.imports import get_url, import_url
from tournant.services.projects import load_project


@pytest.fixture
def data(tmp_path: Path) -> DataContext:
    """Give a home of its own."""
    return open_data_context(Settings.load(home=tmp_path / "home"))


class Quiet(http.server.SimpleHTTPRequestHandler):
    """A web server of a folder that does not talk."""

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def web(folder: Path, kind: type[Quiet] = Quiet) -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(kind, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_a_file_of_a_web_server_is_got_and_imported(data: DataContext, tmp_path: Path) -> None:
    """Imported again it is unchanged, and not downloaded; changed, it is the next version."""
    folder = tmp_path / "www" / "deep"
    folder.mkdir(parents=True)
    (folder / "rows.csv").write_text("a\n1\n")
    with web(tmp_path / "www") as address:
        url = f"{address}/deep/rows.csv"
        get_url(data, url, tmp_path / "got.csv")
        assert (tmp_path / "got.csv").read_text() == "a\n1\n"
        with pytest.raises(Conflict, match="is there already"):
            get_url(data, url, tmp_path / "got.csv")
        first, changed = import_url(data, url, "rows")
        assert (first.id, first.source, first.files, changed) == ("rows@1", url, 1, True)
        assert import_url(data, url, "rows") == (first, False)
        (folder / "rows.csv").write_text("a\n1\n2\n")
        assert import_url(data, url, "rows")[0].id == "rows@2"
        with pytest.raises(NotFound, match="nothing at http"):
            get_url(data, f"{address}/deep/none.csv", tmp_path / "none")
        assert not (tmp_path / "none").exists()
    with pytest.raises(Unavailable, match="cannot be reached"):
        get_url(data, url, tmp_path / "other.csv")


class Faltering(Quiet):
    """Says half of a file and hangs up, the first time; knows of ranges, or does not."""

    ranges = True
    content = bytes(range(256)) * 20_000
    said: ClassVar[list[str]] = []

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.content)))
        self.send_header("ETag", '"one"')
        self.send_header("Last-Modified", "Wed, 01 Jan 2025 00:00:00 GMT")
        self.end_headers()

    def do_GET(self) -> None:
        asked = self.headers.get("Range", "")
        self.said.append(asked)
        begin = int(asked.removeprefix("bytes=").rstrip("-")) if asked and self.ranges else 0
        self.send_response(206 if begin else 200)
        if begin:
            last = len(self.content) - 1
            self.send_header("Content-Range", f"bytes {begin}-{last}/{len(self.content)}")
        self.send_header("Content-Length", str(len(self.content) - begin))
        self.send_header("Last-Modified", "Wed, 01 Jan 2025 00:00:00 GMT")
        self.send_header("ETag", '"one"')
        self.end_headers()
        rest = self.content[begin:]
        self.wfile.write(rest if begin or len(self.said) > 4 else rest[: len(rest) // 2])


@pytest.mark.parametrize("ranges", [True, False])
def test_a_download_goes_on_where_it_was(
    data: DataContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, ranges: bool
) -> None:
    """A half that came is kept, and asked for no more where the server knows of parts; else it is read again."""
    monkeypatch.setattr(Faltering, "ranges", ranges)
    Faltering.said.clear()
    with web(tmp_path, Faltering) as address:
        target = tmp_path / "big.bin"
        for _ in range(8):
            with contextlib.suppress(Unavailable):
                get_url(data, f"{address}/big.bin", target)
                break
            assert not target.exists()
    assert target.read_bytes() == Faltering.content
    assert any(asked.startswith("bytes=") and asked != "bytes=0-" for asked in Faltering.said)
    assert [path.name for path in tmp_path.iterdir() if ".part" in path.name] == []


def test_two_at_once_do_not_mix(data: DataContext, tmp_path: Path) -> None:
    """The second is told so."""
    source = tmp_path / "source.bin"
    source.write_bytes(b"x")
    mark = data.open_urls().mark(str(source))
    with (tmp_path / f".got.bin.{mark[:12]}.part.lock").open("wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(Conflict, match="another process"):
            get_url(data, str(source), tmp_path / "got.bin")
    get_url(data, str(source), tmp_path / "got.bin")
    assert (tmp_path / "got.bin").read_bytes() == b"x"


def test_a_folder_of_this_machine_is_imported(data: DataContext, tmp_path: Path) -> None:
    """With what is in it; names that lead nowhere and addresses of nothing are said."""
    source = tmp_path / "share" / "photos"
    (source / "deep").mkdir(parents=True)
    (source / "deep" / "1").write_text("1")
    (source / "2").write_text("2")
    (tmp_path / "share" / "photos2").write_text("not this one")
    version, _ = import_url(data, str(source), "photos")
    assert set(data.blobs.tree(version.digest).files) == {"deep/1", "2"}
    with pytest.raises(NotFound, match="nothing at"):
        import_url(data, str(tmp_path / "share" / "none"), "photos")
    with pytest.raises(Invalid, match="names no file or folder"):
        import_url(data, "s3://bucket", "photos")


def dvc(folder: Path, *words: str) -> None:
    program = environment("dvc", "dvc==3.67.1").with_name("dvc")
    environ = {**os.environ, "DVC_NO_ANALYTICS": "1", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    subprocess.run([str(program), *words], cwd=folder, check=True, env=environ, stdout=subprocess.DEVNULL)


def commit(folder: Path, message: str) -> None:
    identity = ["-c", "user.name=n", "-c", "user.email=n@localhost"]
    subprocess.run(["git", "add", "-A"], cwd=folder, check=True)
    subprocess.run(["git", *identity, "commit", "-qm", message], cwd=folder, check=True)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Let the real DVC make a repository: two states of a file, a folder, a stage with params and metrics, a remote."""
    folder = tmp_path_factory.mktemp("dvc") / "repository"
    (folder / "data" / "img" / "ü").mkdir(parents=True)
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    dvc(folder, "init", "-q")
    dvc(folder, "remote", "add", "-q", "-d", "share", "../share")
    (folder / "data" / "t.csv").write_text("1,2\n")
    (folder / "data" / "img" / "a.txt").write_text("a\n")
    (folder / "data" / "img" / "ü" / "empty").write_text("")
    dvc(folder, "add", "-q", "data/img", "data/t.csv")
    (folder / "params.yaml").write_text("lr: 0.1\nmodel:\n  depth: 3\n")
    (folder / "train.py").write_text(
        "open('model.txt', 'w').write('m')\nopen('metrics.json', 'w').write('{\"auc\": 0.5}')\n"
    )
    (folder / "dvc.yaml").write_text(
        "stages:\n  train:\n    cmd: python train.py\n    deps: [data/t.csv, train.py]\n    params: [lr, model.depth]\n"
        "    outs: [model.txt]\n    metrics:\n      - metrics.json:\n          cache: false\n"
    )
    dvc(folder, "repro", "-q")
    commit(folder, "one")
    dvc(folder, "push", "-q")
    (folder / "data" / "t.csv").write_text("1,2\n3,4\n")
    dvc(folder, "add", "-q", "data/t.csv")
    dvc(folder, "repro", "-q")
    commit(folder, "two")
    dvc(folder, "push", "-q")
    return folder.parent


@pytest.fixture
def repository(made: Path, tmp_path: Path) -> Path:
    """Give a copy of one's own, its remote beside it."""
    return Path(shutil.copytree(made, tmp_path, dirs_exist_ok=True), "repository")


@pytest.mark.slow
@pytest.mark.parametrize("place", ["cache", "remote"])
def test_a_repository_of_dvc_becomes_versions_and_steps(
    data: DataContext, repository: Path, tmp_path: Path, place: str
) -> None:
    """All that git knows of, oldest first; the pipeline is one that tournant reads."""
    if place == "remote":
        (repository / ".dvc" / "cache").rename(tmp_path / "gone")
    found = import_dvc(data, repository)
    assert found.missing == ()
    assert [version.id for version in found.versions] == ["data-img@1", "data-t@1", "data-t@2"]
    data.blobs.checkout(get_dataset_version(data, "data-t@1").digest, tmp_path / "out" / "t.csv")
    assert (tmp_path / "out" / "t.csv").read_text() == "1,2\n"
    data.blobs.checkout(get_dataset_version(data, "data-img").digest, tmp_path / "img")
    assert (tmp_path / "img" / "a.txt").read_text() == "a\n"
    assert (tmp_path / "img" / "ü" / "empty").read_text() == ""
    project = load_project(repository)
    assert project.data == {"data-img": "data/img", "data-t": "data/t.csv"}
    (step,) = project.steps
    assert (step.name, step.run) == ("train", "python train.py")
    assert (set(step.params), set(step.metrics)) == ({"lr", "model.depth"}, {"metrics.json"})
    assert list(step.outs) == ["model.txt"]
    assert import_dvc(data, repository).project_file == ""  # it is there
    assert len(list_dataset_versions(data, "data-img")) == 1


@pytest.mark.slow
def test_what_dvc_has_lost_is_named(data: DataContext, repository: Path, tmp_path: Path) -> None:
    """And the rest is brought in."""
    for file in [*(tmp_path / "share").rglob("*"), *(repository / ".dvc" / "cache").rglob("*")]:
        if file.is_file() and file.read_bytes() == b"1,2\n":
            file.unlink()
    found = import_dvc(data, repository)
    assert [version.id for version in found.versions] == ["data-img@1", "data-t@1"]
    assert "data/t.csv" in found.missing[0]
    assert "dvc fetch" in found.missing[0]
    with pytest.raises(NotFound, match=r"no folder \.dvc"):
        import_dvc(data, tmp_path)
