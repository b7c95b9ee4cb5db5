"""A run with nothing to do is answered from files' sizes and times alone; anything that changed is noticed."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tournant.cli.project import run as run_command

PROJECT = """\
project: p
data: {rows: data}
params: {n: 1}
pipeline:
  a: {run: 'cat data/*.txt > a.txt', deps: [data], outs: [a.txt]}
  b: {run: 'python b.py', deps: [a.txt], params: [n], outs: [out], metrics: [m.json]}
"""
SCRIPT = """\
import json, os, pathlib
os.mkdir("out")
pathlib.Path("out/b.txt").write_text("b")
json.dump({"n": json.load(open(os.environ["TOURNANT_PARAMS"]))["n"]}, open("m.json", "w"))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give a project's folder, with a home in it as in real life."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "one.txt").write_text("1\n")
    (tmp_path / "tournant.yaml").write_text(PROJECT)
    (tmp_path / "b.py").write_text(SCRIPT)
    (tmp_path / ".gitignore").write_text("out/\nm.json\ndata/\n")
    return tmp_path


@pytest.fixture
def run(folder: Path) -> Callable[..., Result]:
    """Run the command; its exit code must be 0."""

    def run(*arguments: str) -> Result:
        result = CliRunner().invoke(run_command, ["--project", str(folder), *arguments], catch_exceptions=False)
        assert result.exit_code == 0
        return result

    return run


def test_the_same_again_is_answered_at_once_and_says_the_same(run: Callable[..., Result]) -> None:
    """Metrics and JSON are those of the run that is remembered, whose steps are told as they were."""
    first, second = run(), run()
    assert "a: cat" in first.stderr
    assert second.stderr == "a: unchanged\nb: unchanged\nnothing changed\n"
    assert second.stdout == first.stdout == f"  {'n':<20} 1\n"
    assert json.loads(run("--json").stdout)["run"]["name"] == "p-1"


def touch_same(path: Path) -> None:
    """Write the same text again, somewhat later."""
    path.write_text(path.read_text())
    stat = path.stat()
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1_000_000_000))


CHANGES: dict[str, Callable[[Path], object]] = {
    "code": lambda folder: (folder / "b.py").write_text(SCRIPT + "#"),
    "a new file": lambda folder: (folder / "c.py").touch(),
    "data": lambda folder: (folder / "data" / "one.txt").write_text("2\n"),
    "more data": lambda folder: (folder / "data" / "two.txt").write_text("2\n"),
    "less data": lambda folder: (folder / "data" / "one.txt").rename(folder / "data" / "other.txt"),
    "an out": lambda folder: (folder / "out" / "b.txt").write_text("c"),
    "an out that is gone": lambda folder: (folder / "m.json").unlink(),
    "another file in an out": lambda folder: (folder / "out" / "c.txt").touch(),
    "the same text, later": lambda folder: touch_same(folder / "b.py"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_noticed(folder: Path, run: Callable[..., Result], name: str) -> None:
    """Whatever it is, steps are asked again; those whose content is the same are still unchanged."""
    run()
    CHANGES[name](folder)
    asked = run()
    assert "b: " in asked.stderr
    assert (folder / "out" / "b.txt").read_text() == "b"
    assert "nothing changed" in run().stderr


def test_other_questions_are_asked(run: Callable[..., Result]) -> None:
    """Other params, other steps and --force are not what was answered before."""
    run()
    assert "b: python" in run("--set", "n=2").stderr
    assert "b: unchanged" in run().stderr  # its outs are now those of n=2
    assert "a: unchanged" in run("a").stderr
    assert "a: cat" in run("--force").stderr


def test_code_that_changes_while_it_runs_is_not_taken_for_what_ran(folder: Path, run: Callable[..., Result]) -> None:
    """The next run looks at it."""
    (folder / "b.py").write_text(SCRIPT + "open('b.py', 'a').write('#')\n")
    run()
    assert "b: python" in run().stderr
