"""Sweeps over params, as tracked runs that leave the project alone."""

import random
import sys
import time
from pathlib import Path

import pytest

from tournant.bootstrap.samplers import open_sampler
from tournant.domain.run_query import HistoryQuery
from tournant.domain.sweep import Choices, Listed, Range, draw_random, make_grid
from tournant.domain.tracking import RunStatus
from tournant.errors import Invalid, NotFound
from tournant.services.context import Context
from tournant.services.pipelines import run_project
from tournant.services.sweeps import SWEEP_TAG, Objective, order_trials, read_space, run_sweep
from tournant.services.tracking import find_runs, read_history

SCORE = Objective(metric="score")
PROJECT = """\
project: p
data: {rows: rows.txt}
params: {n: 1, m: {k: 1}}
pipeline:
  shared: {run: 'echo x >> SEEN; cat rows.txt > shared.txt', deps: [rows.txt], outs: [shared.txt]}
  score: {run: 'test ${n} -ne 3 && echo "{\\"score\\": $((${n} * ${m.k}))}" > m.json', deps: [shared.txt], metrics: [m.json]}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give a project whose step `shared` leaves a mark outside each time it runs."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "rows.txt").write_text("1\n")
    (folder / "tournant.yaml").write_text(PROJECT.replace("SEEN", str(tmp_path / "seen")))
    return folder


def test_every_combination_is_a_tracked_run_and_the_best_comes_first(
    context: Context, folder: Path, tmp_path: Path
) -> None:
    """Steps in common run once; one that fails is told and ends nothing; the folder and the models stay as they were."""
    trials = run_sweep(context, folder, Listed(make_grid(read_space(["n=2..4", "m.k=1,10"]))), SCORE)
    best = order_trials(trials, SCORE)
    assert [(trial.params["n"], trial.params["m.k"], trial.metric("score")) for trial in best[:4]] == [
        *((4, 10, 40.0), (2, 10, 20.0), (4, 1, 4.0), (2, 1, 2.0))
    ]
    assert ["step 'score' failed" in trial.failure for trial in best[4:]] == [True, True]
    assert order_trials(trials, Objective(metric="score", maximize=False))[0].metric("score") == 2.0
    assert (tmp_path / "seen").read_text() == "x\n"
    runs = find_runs(context, experiment="p")
    assert len(runs) == 6
    assert len({run.tags[SWEEP_TAG] for run in runs}) == 1
    assert sorted(path.name for path in folder.iterdir()) == ["rows.txt", "tournant.yaml"]
    assert list((context.settings.home / "sweeps").iterdir()) == []
    assert run_project(context, folder, params={"n": 4, "m.k": 10}).cached


def test_mistakes_are_told_before_anything_runs(context: Context, folder: Path) -> None:
    """A param that is not there, a metric that nobody has, nothing to sweep over."""
    with pytest.raises(NotFound, match="no param 'depth'"):
        run_sweep(context, folder, Listed([{"depth": 1}]), SCORE)
    assert not find_runs(context)
    with pytest.raises(Invalid, match=r"no trial has a metric 'auroc' \(there is: score\)"):
        order_trials(run_sweep(context, folder, Listed([{"n": 2}]), SCORE), Objective(metric="auroc"))
    with pytest.raises(Invalid, match="nothing to sweep over"):
        open_sampler("grid", {}, trials=None, maximize=True, seed=0)
    with pytest.raises(Invalid, match="--sampler random --trials 20"):
        open_sampler("grid", {"rate": Range(0.0, 1.0)}, trials=None, maximize=True, seed=0)


def test_tpe_learns_from_the_trials_before(context: Context, folder: Path) -> None:
    """It comes nearer than chance; a trial that failed has no value, and ends nothing; the same seed draws the same."""
    space = read_space(["n=1..60", "m.k=1,2"])
    found = run_sweep(context, folder, open_sampler("tpe", space, trials=16, maximize=True, seed=3), SCORE, jobs=1)
    assert len(found) == 16
    assert max(trial.metric("score") or 0.0 for trial in found) >= 100.0  # of 120
    early, late = (sum(trial.metric("score") or 0.0 for trial in part) for part in (found[:8], found[8:]))
    assert late > early
    again = open_sampler("tpe", space, trials=16, maximize=True, seed=3)
    assert again.ask() == (0, found[0].params)


def test_tpe_without_its_extra_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """With what to install."""
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(Invalid, match=r"pip install 'tournant\[optuna\]'"):
        open_sampler("tpe", {"n": Range(1, 2)}, trials=1, maximize=True, seed=0)


LEARNING = """\
import json, os, sys, time
rate = float(sys.argv[1])
with open(os.environ["TOURNANT_PROGRESS"], "a", buffering=1) as told:
    told.write("this is no report\\n")
    for step in range(200 if rate < 0.2 else 3):
        told.write(json.dumps({"step": step, "score": rate * (step + 1)}) + "\\n")
        time.sleep(0.05)
json.dump({"score": 3 * rate}, open("m.json", "w"))
"""


def test_a_hopeless_trial_is_stopped(context: Context, tmp_path: Path) -> None:
    """By what its step reports; its run says so, and keeps what was reported; the rest ends as it should."""
    folder = tmp_path / "learning"
    folder.mkdir()
    (folder / "learn.py").write_text(LEARNING)
    (folder / "tournant.yaml").write_text(
        "project: l\nparams: {rate: 1}\npipeline:\n"
        "  learn: {run: 'python learn.py ${rate}', deps: [learn.py], params: [rate], metrics: [m.json]}\n"
    )
    rates = [0.9, 0.8, 0.7, 0.1, 1.0]
    objective = Objective(metric="score", prune=True)
    said: list[str] = []
    began = time.monotonic()
    trials = run_sweep(
        context, folder, Listed([{"rate": rate} for rate in rates]), objective, jobs=1, on_progress=said.append
    )
    assert time.monotonic() - began < 9.0  # it would have taken ten alone
    assert [bool(trial.pruned) for trial in trials] == [False, False, False, True, False]
    assert "is the median of 3 others" in trials[3].pruned
    assert "rate=0.1  pruned: its best by step" in said[3]
    stopped = trials[3].run
    assert stopped
    assert (stopped.status, stopped.error) == (RunStatus.CANCELLED, trials[3].pruned)
    assert 0.1 <= stopped.metrics["score"] < 20.0
    best = order_trials(trials, objective)
    assert [trial.params["rate"] for trial in best] == [1.0, 0.9, 0.8, 0.7, 0.1]
    whole = best[0].run
    assert whole
    assert whole.metrics["score"] == 3.0
    history = read_history(context, HistoryQuery(runs=(whole.id,), key="score"))
    assert [(point.step, point.value) for point in history] == [(0, 1.0), (1, 2.0), (2, 3.0), (3, 3.0)]


@pytest.mark.parametrize("text", ["n", "n=", "=1", "n=3..1", "n=0..1:log", "n=1..1"])
def test_a_space_that_is_none_is_refused(text: str) -> None:
    """With what it should look like."""
    with pytest.raises(Invalid, match=r"PARAM=1,2,3|a lower to a higher"):
        read_space([text])


def test_random_numbers_stay_in_their_range() -> None:
    """Whole ones stay whole; of a logarithmic range as many are below its geometric mean as above."""
    rng = random.Random(0)
    assert {Range(1, 3).draw(rng) for _ in range(100)} == {1, 2, 3}
    drawn = [Range(0.001, 0.1, log=True).draw(rng) for _ in range(1000)]
    assert all(0.001 <= value <= 0.1 for value in drawn)
    assert 400 < sum(value < 0.01 for value in drawn) < 600
    assert {Range(1, 4, log=True).draw(rng) for _ in range(200)} == {1, 2, 3, 4}
    assert len(draw_random({"a": Choices((1, 2)), "b": Range(0.0, 1.0)}, 5, seed=1)) == 5
    with pytest.raises(ValueError, match="has no end of numbers"):
        make_grid({"b": Range(0.0, 1.0)})
