"""Data from elsewhere: addresses, and a repository that the real DVC made."""

import contextlib
import http.server
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

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
def web(folder: Path) -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
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


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Give a repository of the real DVC: two states of a file, a folder, a stage with params and metrics, a remote."""
    folder = tmp_path / "repository"
    (folder / "data" / "img" / "ü").mkdir(parents=True)
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    dvc(folder, "init", "-q")
    dvc(folder, "remote", "add", "-q", "-d", "share", str(tmp_path / "share"))
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
    (folder / "data" / "t.csv").write_text("1,2\n3,4\n")
    dvc(folder, "add", "-q", "data/t.csv")
    dvc(folder, "repro", "-q")
    commit(folder, "two")
    dvc(folder, "push", "-q", "--all-commits")
    return folder


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
