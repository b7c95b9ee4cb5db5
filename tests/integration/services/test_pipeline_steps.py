"""Repeated, templated, frozen, retried and timed steps, plans of a run, and comparing what runs have made."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tournant.domain.tracking import RunStatus
from tournant.errors import Invalid, NotFound
from tournant.services.context import Context
from tournant.services.pipelines import run_project
from tournant.services.plans import plan_project
from tournant.services.projects import load_project
from tournant.services.run_plots import find_run, read_plots
from tournant.services.tracking import compare_runs, find_runs

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a project file into the project's folder and give that."""
    folder = tmp_path / "project"
    folder.mkdir()

    def write(text: str) -> Path:
        (folder / "tournant.yaml").write_text("project: p\n" + text)
        return folder

    return write


def test_a_step_is_repeated_over_a_list_and_over_a_matrix(context: Context, write: Write) -> None:
    """Each item has a step of its own; what reads all of them waits for all."""
    folder = write(
        "params: {depths: [2, 3], grow: {rate: 0.5}}\n"
        "pipeline:\n"
        "  fetch: {foreach: [uk, us], run: 'echo ${item} > ${item}.txt', outs: ['${item}.txt']}\n"
        "  train:\n"
        "    matrix: {region: [uk, us], depth: '${depths}'}\n"
        "    run: cat ${item.region}.txt > ${item.region}-${item.depth}.out; echo ${grow.rate} >> ${item.region}-${item.depth}.out\n"
        "    deps: ['${item.region}.txt']\n"
        "    outs: ['${item.region}-${item.depth}.out']\n"
        "  all: {run: cat *.out > all.txt, deps: [uk-2.out, uk-3.out, us-2.out, us-3.out], outs: [all.txt]}\n"
    )
    result = run_project(context, folder)
    assert [step.step for step in result.steps] == [
        *("fetch.uk", "fetch.us", "train.uk-2", "train.uk-3", "train.us-2", "train.us-3", "all")
    ]
    assert (folder / "all.txt").read_text() == "uk\n0.5\nuk\n0.5\nus\n0.5\nus\n0.5\n"
    assert result.run.params == {"depths": "[2, 3]", "grow.rate": "0.5"}
    assert [step.step for step in run_project(context, folder, steps=["fetch"]).steps] == ["fetch.uk", "fetch.us"]
    one = run_project(context, folder, params={"grow.rate": 0.6}, steps=["train.us-3"])
    assert [(step.step, step.cached) for step in one.steps] == [("fetch.us", True), ("train.us-3", False)]


def test_params_come_from_files_and_the_project_has_the_last_word(write: Write) -> None:
    """YAML, JSON and TOML; what --set says goes over all."""
    folder = write(
        "params_files: [a.yaml, b.toml]\nparams: {depth: 4}\npipeline: {s: {run: 'x ${depth} ${m.rate} ${kind}'}}\n"
    )
    (folder / "a.yaml").write_text("depth: 1\nkind: tree\n")
    (folder / "b.toml").write_text("kind = 'bush'\n[m]\nrate = 0.5\n")
    assert load_project(folder).steps[0].run == "x 4 0.5 bush"
    assert load_project(folder, params={"m.rate": 1, "kind": "a b"}).steps[0].run == "x 4 1 a b"
    with pytest.raises(NotFound, match=r"no param 'm.rat'; did you mean 'm.rate'"):
        load_project(folder, params={"m.rat": 1})


MISTAKES = [
    (
        "pipeline: {s: {run: 'x ${dept}'}}\nparams: {depth: 3}\n",
        "unknown param 'dept' in a text; did you mean 'depth'?",
    ),
    ("pipeline: {s: {run: x, foreach: '${list}'}}\n", "pipeline.s: unknown param 'list'"),
    ("pipeline: {s: {run: x, foreach: []}}\n", "pipeline.s: there is nothing to repeat it over"),
    ("pipeline: {s: {run: x, foreach: [a, a/]}}\n", ""),
    ("pipeline: {s: {run: x, foreach: ['a b', 'a_b']}}\n", "two items give a step of the name 's.a_b'"),
    (
        "pipeline: {s: {run: x, foreach: ['..'], outs: ['${item}/x']}}\n",
        "'../x' is no path inside the project's folder",
    ),
    ("pipeline: {s: {run: x, timeout: soon}}\n", "pipeline.s.timeout: expected a duration such as 90s"),
    ("pipeline: {s: {run: x, retries: -1}}\n", "pipeline.s.retries: expected a whole number at least 0"),
    ("params_files: [no.yaml]\n", "params_files: there is no file 'no.yaml'"),
]


@pytest.mark.parametrize(("text", "words"), MISTAKES, ids=[str(i) for i in range(len(MISTAKES))])
def test_mistakes_are_told(write: Write, text: str, words: str) -> None:
    """With what, where and what was probably meant; variables of the shell are left to it."""
    folder = write(text)
    if not words:
        assert load_project(folder)
        return
    with pytest.raises(Invalid) as caught:
        load_project(folder)
    assert words in caught.value.message


def test_variables_of_the_shell_stay(context: Context, write: Write) -> None:
    """Upper case is the environment's."""
    folder = write("pipeline: {s: {run: 'echo ${TOURNANT_STEP} $((1 + 1)) > out', outs: [out]}}\n")
    run_project(context, folder)
    assert (folder / "out").read_text() == "s 2\n"


def test_a_frozen_step_is_not_run(context: Context, write: Write) -> None:
    """What it made before is there, changed inputs or not, forced or not; one that never ran says so."""
    text = "pipeline: {a: {%srun: 'echo %s > a', outs: [a]}, b: {run: cat a > b, deps: [a], outs: [b]}}\n"
    folder = write(text % ("frozen: true, ", "one"))
    with pytest.raises(Invalid, match=r"step 'a' is frozen, but 'a' is neither here nor was it ever made"):
        run_project(context, folder)
    run_project(context, write(text % ("", "one")))
    (folder / "a").unlink()
    said: list[str] = []
    run_project(context, write(text % ("frozen: true, ", "two")), force=True, on_progress=said.append)
    assert (folder / "b").read_text() == "one\n"
    assert said == ["a: frozen", "b: cat a > b"]


def test_a_failing_step_is_run_again(context: Context, write: Write) -> None:
    """As often as it says; what a failed attempt left is not there in the next."""
    count = "echo x >> count.log; test ! -e out; touch out; test $(wc -l < count.log) -ge 3"
    folder = write(f"pipeline: {{s: {{run: '{count}', outs: [out], retries: 2}}}}\n")
    said: list[str] = []
    result = run_project(context, folder, on_progress=said.append)
    assert result.run.status is RunStatus.SUCCESSFUL
    assert said[1:] == ["s: failed, running it again (2 more)", "s: failed, running it again (1 more)"]
    (folder / "count.log").unlink()
    with pytest.raises(Invalid, match="failed with exit code 1"):
        run_project(context, write(f"pipeline: {{s: {{run: '{count}', outs: [out], retries: 1}}}}\n"), force=True)


def test_a_step_that_takes_too_long_is_stopped(context: Context, write: Write) -> None:
    """With its last lines, and nothing of it left running."""
    folder = write("pipeline: {s: {run: 'echo working; sleep 60; touch out', outs: [out], timeout: 300ms}}\n")
    with pytest.raises(Invalid, match=r"(?s)step 's' was stopped after its timeout of 0.3 s.*working"):
        run_project(context, folder)
    (run,) = find_runs(context)
    assert run.status is RunStatus.FAILED
    assert context.executor.status(f"{run.id}-s").state == "ended"


def test_a_plan_says_what_would_run_and_does_nothing(context: Context, write: Write) -> None:
    """Before, after, and after a change in the middle."""
    text = (
        "params: {n: 1}\n"
        "pipeline:\n"
        "  a: {run: 'echo 1 > a', outs: [a]}\n"
        "  b: {run: 'echo ${n} $(cat a) > b', deps: [a], outs: [b]}\n"
        "  c: {run: cat b > c, deps: [b], outs: [c]}\n"
    )
    folder = write(text)

    def plan(**options: object) -> list[str]:
        return [f"{p.step.name} {p.action.value}" for p in plan_project(context, folder, **options)]  # type: ignore[arg-type]

    assert plan() == ["a run", "b run", "c run"]
    assert not find_runs(context)
    assert not (folder / "a").exists()
    run_project(context, folder)
    assert plan() == ["a cached", "b cached", "c cached"]
    assert plan(params={"n": 2}) == ["a cached", "b run", "c run"]
    assert plan_project(context, folder, params={"n": 2})[2].reason == "it needs what b makes"
    assert plan(force=True, steps=["b"]) == ["a run", "b run"]


def test_runs_are_compared_and_their_plots_drawn_over_each_other(context: Context, write: Write) -> None:
    """By name, from the end, by digits; each run's curve as it was then."""
    command = "printf 'epoch,loss,note\\n1,%s,x\\n2,0.2,y\\n' ${top} > curve.csv; echo '{\"loss\": ${top}}' > m.json"
    section = {"run": command, "plots": ["curve.csv"], "metrics": ["m.json"]}
    folder = write(f"params: {{top: 0.5}}\npipeline: {json.dumps({'s': section})}\n")
    run_project(context, folder)
    run_project(context, folder, params={"top": 0.9})
    one, other = find_run(context, "last~1", experiment="p"), find_run(context, "p-2")
    assert find_run(context, one.id[-9:]) == one
    difference = compare_runs(context, [one.id, other.id])
    assert (difference.params, difference.metrics) == ({"top": ("0.5", "0.9")}, {"loss": (0.5, 0.9)})
    plots = read_plots(context, load_project(folder), [one, other])
    assert {run: curves.series for run, curves in plots["curve.csv"].items()} == {
        "p-1": {"loss": (0.5, 0.2)},
        "p-2": {"loss": (0.9, 0.2)},
    }
    with pytest.raises(NotFound, match="there are only 2 runs of p"):
        find_run(context, "last~2", experiment="p")
    with pytest.raises(NotFound, match="there is no run 'p-9'"):
        find_run(context, "p-9")
