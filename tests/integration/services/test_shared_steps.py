"""The step cache at a remote: two colleagues, each with a home and a copy of the project."""

import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tournant.adapters.blobs import remote_collect
from tournant.adapters.blobs.local import LocalBlobStore
from tournant.adapters.blobs.remote import ObjectStoreRemote
from tournant.adapters.sql.transactions import SqlTransactions, create_engine
from tournant.config import Settings
from tournant.domain.data import StepCacheEntry
from tournant.domain.machine import StepMachine
from tournant.services.context import Context
from tournant.services.pipelines import PipelineResult, run_project
from tournant.services.plans import Action, plan_project
from tournant.services.remotes import add_remote, get_remote

PROJECT = """\
project: tiny
step_cache: team
params: {scale: 2}
pipeline:
  prepare: {run: python prepare.py, deps: [prepare.py], outs: [sum.txt]}
  train: {run: python train.py, deps: [sum.txt], params: [scale], outs: [model], metrics: [metrics.json]}
"""
PREPARE = "open('trace.log', 'a').write('prepare '); open('sum.txt', 'w').write('6')\n"
TRAIN = """\
import json, os, pathlib
open("trace.log", "a").write("train ")
scale = json.load(open(os.environ["TOURNANT_PARAMS"]))["scale"]
pathlib.Path("model").mkdir()
pathlib.Path("model/model.pkl").write_text(str(scale * int(open("sum.txt").read())))
json.dump({"value": scale}, open("metrics.json", "w"))
"""


class Colleague:
    """Somebody with a home and the project."""

    def __init__(self, ctx: Context, folder: Path, share: Path) -> None:
        self.ctx = ctx
        self.folder = folder
        folder.mkdir()
        for name, text in {"tournant.yaml": PROJECT, "prepare.py": PREPARE, "train.py": TRAIN}.items():
            (folder / name).write_text(text)
        (folder / ".gitignore").write_text("*.log\n")
        add_remote(ctx, "team", str(share), project=folder.name)
        self.said: list[str] = []

    def run(self, **more: object) -> PipelineResult:
        self.said.clear()
        return run_project(self.ctx, self.folder, register=False, on_progress=self.said.append, **more)  # type: ignore[arg-type]

    @property
    def trace(self) -> str:
        path = self.folder / "trace.log"
        return path.read_text() if path.exists() else ""

    def words(self) -> str:
        return "\n".join(self.said)


@pytest.fixture
def share(tmp_path: Path) -> Path:
    return tmp_path / "share"


@pytest.fixture
def colleague(context: Context, tmp_path: Path, sqlite_template: Path, share: Path) -> Callable[[str], Colleague]:
    """Make colleagues by name."""

    def make(name: str) -> Colleague:
        home = tmp_path / f"{name}-home"
        home.mkdir()
        shutil.copyfile(sqlite_template, home / "metadata.db")
        blobs = LocalBlobStore(home / "blobs")
        ctx = replace(
            context,
            settings=Settings.load(home=home),
            transactions=SqlTransactions(create_engine(f"sqlite:///{home / 'metadata.db'}")),
            blobs=blobs,
            open_remote=lambda remote: ObjectStoreRemote(blobs, remote, {}),
        )
        return Colleague(ctx, tmp_path / name, share)

    return make


@pytest.fixture
def ada(colleague: Callable[[str], Colleague]) -> Colleague:
    return colleague("ada")


@pytest.fixture
def bob(colleague: Callable[[str], Colleague]) -> Colleague:
    return colleague("bob")


def test_what_a_colleague_has_made_is_fetched_and_not_made_again(ada: Colleague, bob: Colleague) -> None:
    """Outs, metrics and the machine they were made on; from then on it is one's own, also without the remote."""
    made = ada.run()
    assert "2 shared at team" in ada.words()
    got = bob.run()
    assert bob.trace == ""
    assert got.cached
    assert "train: fetched from the shared step cache" in bob.words()
    assert (bob.folder / "model" / "model.pkl").read_text() == "12"
    assert got.run.metrics == made.run.metrics == {"value": 2.0}
    assert [step.outs for step in got.steps] == [step.outs for step in made.steps]
    with bob.ctx.transactions.begin(write=False) as uow:
        theirs = uow.get(StepMachine, got.run.id, "train")
    assert theirs
    assert theirs.machine.platform
    shutil.rmtree(bob.folder / "model")
    assert bob.run(share=False).cached
    assert "train: unchanged" in bob.words()


def test_only_what_is_the_same_is_shared(ada: Colleague, bob: Colleague) -> None:
    """Another param makes its own step, and shares that in turn; what is forced or told not to is not asked for."""
    ada.run()
    bob.run(params={"scale": 3})
    assert bob.trace == "train "
    assert "1 shared at team" in bob.words()
    assert (ada.run(params={"scale": 3}).cached, ada.trace) == (True, "prepare train ")
    bob.run(params={"scale": 4}, share=False)
    assert "shared" not in bob.words()
    bob.run(params={"scale": 3}, force=True)
    assert bob.trace == "train train prepare train "


def test_a_remote_that_is_away_stops_nobody(ada: Colleague, bob: Colleague, share: Path) -> None:
    """It is told once, and asked no more in that run."""
    ada.run()
    shutil.rmtree(share)
    share.write_text("this is no folder")
    assert not bob.run().cached
    assert bob.trace == "prepare train "
    assert bob.words().count("the run goes on without it") == 1


def test_a_remote_nobody_has_named_is_said(ada: Colleague) -> None:
    """With how to name it; the run goes on."""
    text = (ada.folder / "tournant.yaml").read_text()
    (ada.folder / "tournant.yaml").write_text(text.replace("step_cache: team", "step_cache: other"))
    assert len(ada.run().steps) == 2
    assert "there is no remote 'other'" in ada.words()


def test_what_could_not_be_shared_is_shared_by_a_later_run(ada: Colleague, bob: Colleague, share: Path) -> None:
    """A run without the remote, or one that failed after a step, leaves steps behind which only this home has."""
    shutil.rmtree(share)
    share.write_text("this is no folder")
    ada.run()
    assert "the run goes on without it" in ada.words()
    share.unlink()
    share.mkdir()
    assert ada.run().cached
    assert "2 shared at team" in ada.words()
    assert "nothing changed" in ada.words()
    ada.run()
    assert "shared at team" not in ada.words()
    assert bob.run().cached
    assert bob.words().endswith("nothing had to run")


def test_a_plan_tells_what_would_be_fetched(ada: Colleague, bob: Colleague) -> None:
    """And fetches nothing; what comes after it is told from its outs."""
    ada.run()

    def actions(**more: object) -> list[Action]:
        return [planned.action for planned in plan_project(bob.ctx, bob.folder, **more)]  # type: ignore[arg-type]

    assert actions(share=True) == [Action.FETCHED, Action.FETCHED]
    assert actions(share=True, params={"scale": 9}) == [Action.FETCHED, Action.RUN]
    assert actions() == [Action.RUN, Action.RUN]
    assert not (bob.folder / "sum.txt").exists()
    with bob.ctx.transactions.begin(write=False) as uow:
        assert uow.find(StepCacheEntry) == []


@pytest.mark.parametrize("damage", ["entry", "other key", "content"])
def test_what_is_damaged_is_not_used(ada: Colleague, bob: Colleague, share: Path, damage: str) -> None:
    """The step is made here, as if nothing had been shared."""
    ada.run()
    entries = sorted((share / "steps").iterdir())
    if damage == "entry":
        for path in entries:
            path.write_text("{")
    elif damage == "other key":
        texts = [path.read_text() for path in entries]
        for path, text in zip(entries, reversed(texts), strict=True):
            path.write_text(text)
    else:
        for path in share.rglob("*"):
            if path.is_file() and path.parent.name != "steps" and path.stat().st_size > 200:
                content = bytearray(path.read_bytes())
                content[len(content) // 3] ^= 1
                path.write_bytes(content)
    bob.run()
    assert (bob.folder / "model" / "model.pkl").read_text() == "12"
    if damage == "content":
        assert "cannot be used" in bob.words()
        assert "train" in bob.trace
    else:
        assert bob.trace == "prepare train "


def test_collecting_garbage_keeps_what_was_shared_lately(
    ada: Colleague, bob: Colleague, share: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Older entries go with their content, and the step is made and shared again."""
    ada.run()
    remote = ada.ctx.open_remote(get_remote(ada.ctx, "team"))
    assert remote.collect().objects == 0
    assert bob.run().cached
    monkeypatch.setattr(remote_collect, "STEP_SECONDS", -1.0)
    assert ada.ctx.open_remote(get_remote(ada.ctx, "team")).collect().objects > 0
    assert list((share / "steps").iterdir()) == []
    assert not [path for path in (share / "packs").rglob("*") if path.is_file()]
    monkeypatch.undo()
    time.sleep(0.01)
    bob.run(params={"scale": 5})
    assert "1 shared at team" in bob.words()
    assert ada.run(params={"scale": 5}).cached
