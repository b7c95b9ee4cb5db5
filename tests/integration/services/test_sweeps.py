"""Sweeps over params, as tracked runs that leave the project alone."""

import random
from pathlib import Path

import pytest

from tournant.domain.sweep import Choices, Range, draw_random, make_grid
from tournant.errors import Invalid, NotFound
from tournant.services.context import Context
from tournant.services.pipelines import run_project
from tournant.services.sweeps import SWEEP_TAG, order_trials, read_space, run_sweep
from tournant.services.tracking import find_runs

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
    trials = run_sweep(context, folder, make_grid(read_space(["n=2..4", "m.k=1,10"])))
    best = order_trials(trials, "score", maximize=True)
    assert [(trial.params["n"], trial.params["m.k"], trial.metric("score")) for trial in best[:4]] == [
        *((4, 10, 40.0), (2, 10, 20.0), (4, 1, 4.0), (2, 1, 2.0))
    ]
    assert ["step 'score' failed" in trial.failure for trial in best[4:]] == [True, True]
    assert order_trials(trials, "score", maximize=False)[0].metric("score") == 2.0
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
        run_sweep(context, folder, [{"depth": 1}])
    assert not find_runs(context)
    with pytest.raises(Invalid, match=r"no trial has a metric 'auroc' \(there is: score\)"):
        order_trials(run_sweep(context, folder, [{"n": 2}]), "auroc", maximize=True)
    with pytest.raises(Invalid, match="nothing to sweep over"):
        run_sweep(context, folder, [])


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
