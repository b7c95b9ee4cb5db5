"""Which of a project's files a code snapshot keeps."""

import subprocess
from pathlib import Path

import pytest

from tournant.domain.pipeline import Project, Step
from tournant.services.code import capture_code, find_commit
from tournant.services.context import Context


def write(folder: Path, *paths: str) -> None:
    """Write files that hold their own names."""
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(path)


def kept(context: Context, folder: Path, project: Project | None = None) -> list[str]:
    """Give the paths in a snapshot."""
    return sorted(context.blobs.tree(capture_code(context, project or Project(name="p"), folder)).files)


def test_data_outs_and_machinery_stay_out(context: Context, tmp_path: Path) -> None:
    """Only what people wrote is code."""
    folder = tmp_path / "project"
    write(folder, "train.py", "lib/features.py", "data/rows.csv", "build/train.csv", "model/model.pkl", "metrics.json")
    write(folder, ".git/HEAD", ".venv/bin/python", "env/pyvenv.cfg", "env/bin/python", "lib/__pycache__/features.pyc")
    write(folder, ".tournant/metadata.db")
    step = Step(name="s", run="x", outs=("build/train.csv", "model"), metrics=("metrics.json",))
    project = Project(name="p", data={"rows": "data/rows.csv"}, steps=(step,))
    assert kept(context, folder, project) == ["lib/features.py", "train.py"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.log", ["a.txt", "sub/b.txt", "sub/deep/c.txt"]),
        ("/sub", ["a.log", "a.txt"]),
        ("sub/deep", ["a.log", "a.txt", "sub/b.log", "sub/b.txt"]),
        ("deep/", ["a.log", "a.txt", "sub/b.log", "sub/b.txt"]),
        ("a.log/", ["a.log", "a.txt", "sub/b.log", "sub/b.txt", "sub/deep/c.txt"]),
        ("*.log\n!b.log", ["a.txt", "sub/b.log", "sub/b.txt", "sub/deep/c.txt"]),
        ("# *.txt\n\n**/c.txt", ["a.log", "a.txt", "sub/b.log", "sub/b.txt"]),
    ],
)
def test_ignore_files_are_honoured(context: Context, tmp_path: Path, pattern: str, expected: list[str]) -> None:
    """As git would, and with an ignore file of tournant's own."""
    folder = tmp_path / "project"
    write(folder, "a.txt", "a.log", "sub/b.txt", "sub/b.log", "sub/deep/c.txt")
    (folder / ".tournantignore").write_text(pattern)
    assert kept(context, folder) == [".tournantignore", *expected]


def test_the_digest_follows_the_content(context: Context, tmp_path: Path) -> None:
    """Unchanged, changed, added, deleted, and back again; a file may become a folder."""
    folder = tmp_path / "project"
    write(folder, "a.py", "b.py")
    first = capture_code(context, Project(name="p"), folder)
    assert capture_code(context, Project(name="p"), folder) == first
    (folder / "a.py").write_text("other")
    assert capture_code(context, Project(name="p"), folder) != first
    (folder / "a.py").unlink()
    assert kept(context, folder) == ["b.py"]
    write(folder, "a.py/inner.py")
    assert kept(context, folder) == ["a.py/inner.py", "b.py"]
    (folder / "a.py" / "inner.py").unlink()
    (folder / "a.py").rmdir()
    write(folder, "a.py")
    assert capture_code(context, Project(name="p"), folder) == first


def test_the_commit_is_found_where_there_is_one(tmp_path: Path) -> None:
    """No repository and no commit yet: nothing to say."""
    assert find_commit(tmp_path) == ""
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    assert find_commit(tmp_path) == ""
    identity = ["-c", "user.name=n", "-c", "user.email=n@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", tmp_path, *identity, "commit", "-q", "--allow-empty", "-m", "x"], check=True)
    assert len(find_commit(tmp_path)) == 40
