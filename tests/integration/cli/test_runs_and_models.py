"""`tournant runs …` and `tournant models …`: what people read, and JSON for the next program."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from tournant.bootstrap.house import open_context
from tournant.cli import tournant
from tournant.config import Settings
from tournant.sdk.client import Client
from tournant.services.registered_models import create_model
from tournant.services.versions import create_version


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def say(home: Path, monkeypatch):
    """Run a command on the home, as somebody; give what it printed."""

    def say(*words: object, by: str = "ada") -> str:
        monkeypatch.setenv("LOGNAME", by)
        done = CliRunner().invoke(tournant, [*map(str, words), "--home", str(home)], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.stdout

    return say


@pytest.fixture
def runs(home: Path) -> list[str]:
    """Two runs: the second has another depth, one metric more, and goes on."""
    with Client(home=home) as client:
        ids = []
        for depth, auc in (("3", 0.7), ("5", 0.8)):
            run = client.runs.create(name=f"depth-{depth}", params={"depth": depth, "seed": "1"})
            points = [{"key": "auc", "value": auc - 0.1, "step": 1}, {"key": "auc", "value": auc, "step": 2}]
            client.runs.log(id=run.id, metrics=points)
            ids.append(run.id)
        client.runs.finish(id=ids[0])
    return ids


def test_runs_are_compared(say, runs):
    """Only where they differ."""
    text = say("runs", "diff", *runs)
    assert [line.split() for line in text.splitlines()][1:] == [
        ["param", "depth", "3", "5"],
        ["metric", "auc", "0.7", "0.8"],
    ]
    assert json.loads(say("runs", "diff", *runs, "--json"))["params"] == {"depth": ["3", "5"]}
    assert say("runs", "diff", runs[0], runs[0]) == ""


def test_a_run_s_metrics_are_followed(say, runs):
    """In the order in which they were logged, until the run has ended; one that goes on is not waited for if one says so."""
    lines = say("runs", "tail", runs[0]).splitlines()
    assert [line.partition("step ")[2].split() for line in lines] == [
        ["1", "auc", "=", "0.6"],
        ["2", "auc", "=", "0.7"],
    ]
    found = [json.loads(line) for line in say("runs", "tail", runs[1], "--no-follow", "--json").splitlines()]
    assert [(point["key"], point["step"], point["value"]) for point in found] == [
        ("auc", 1, pytest.approx(0.7)),
        ("auc", 2, 0.8),
    ]
    assert say("runs", "tail", runs[1], "--no-follow", "--metric", "loss") == ""


def test_runs_are_deleted_and_restored(say, runs):
    """With JSON for programs."""
    assert json.loads(say("runs", "delete", runs[1], "--json"))["deleted_at"] is not None
    assert "depth-5" not in say("runs", "list")
    assert json.loads(say("runs", "restore", runs[1], "--json"))["deleted_at"] is None
    assert "depth-5" in say("runs", "list")


def test_an_alias_is_asked_for_approved_and_remembered(say, home):
    """One asks, another agrees, and all of it can be read afterwards."""
    ctx = open_context(Settings.load(home=home), actor="ada")
    with Client(home=home) as client:
        run = client.runs.create()
    create_model(ctx, "fraud")
    for _ in range(2):
        create_version(ctx, "fraud", source=f"runs:/{run.id}/model", run=run.id)
    assert say("models", "alias", "fraud", "champion", 1, "--reason", "first") == "fraud@champion is now version 1\n"
    assert "champion" in say("models", "protect", "fraud", "champion")
    waiting = say("models", "alias", "fraud", "champion", 2)
    assert "waits for an approval to name version 2" in waiting
    assert "tournant models approve fraud champion" in waiting
    approved = json.loads(say("models", "approve", "fraud", "champion", "--json", by="grace"))
    assert (approved["state"], approved["actor"], approved["decided_by"]) == ("made", "ada", "grace")
    assert json.loads(say("models", "unalias", "fraud", "other", "--json")) is None
    history = say("models", "history", "fraud")
    assert "grace" in history
    assert "first" in history
    told = json.loads(say("models", "history", "fraud", "--json"))
    assert ([move["version"] for move in told["moves"]], told["tenures"]) == ([2, 1], [])
    assert say("models", "show", "fraud").splitlines()[0].endswith("DEPLOYED AS  VERIFIED")


def test_the_space_of_deleted_runs_is_freed(say, runs):
    """Told before it is done, and only of what was deleted long enough ago."""
    say("runs", "delete", runs[0])
    assert say("gc", "--dry-run").startswith("would remove 0 runs, 0 experiments")
    assert json.loads(say("gc", "--older-than", "0s", "--dry-run", "--json"))["runs"] == [runs[0]]
    say("runs", "restore", runs[0])
    say("runs", "delete", runs[0])
    assert say("gc", "--older-than", "0s").startswith("removed 1 runs, 0 experiments, 0 logged models; ")
    assert [run["id"] for run in json.loads(say("runs", "list", "--json"))] == [runs[1]]
