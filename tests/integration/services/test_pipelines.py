"""Running a tiny project of plain Python steps on the interpreter of the tests: nothing is locked or built."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tournant.domain.control import Event
from tournant.domain.data import DatasetVersion
from tournant.domain.filters import parse_order
from tournant.domain.run_query import RunQuery
from tournant.domain.tracking import RunStatus, StepRun
from tournant.errors import Conflict, Invalid, NotFound
from tournant.services.context import Context
from tournant.services.data import add_dataset_version
from tournant.services.pipelines import PipelineResult, run_project, run_tests

PROJECT = """\
project: tiny
environment: {requirements: requirements.txt}
data: {numbers: data/numbers.txt}
params: {scale: 2, note: hello}
pipeline:
  evaluate: {run: python evaluate.py, deps: [model], metrics: [metrics.json]}
  train: {run: python train.py, deps: [build/sum.txt], params: [scale], outs: [model]}
  prepare: {run: python prepare.py, deps: [data/numbers.txt], outs: [build/sum.txt]}
model: {path: model}
tests:
- {name: small, run: "test $(cat $TOURNANT_MODEL/model.pkl) -lt 100"}
- {name: huge, run: "test $(cat $TOURNANT_MODEL/model.pkl) -gt 100"}
"""
PREPARE = """\
import pathlib, os
pathlib.Path("trace.log").open("a").write("prepare ")
numbers = pathlib.Path("data/numbers.txt").read_text().split()
pathlib.Path("build/sum.txt").write_text(str(sum(map(int, numbers))))
"""
TRAIN = """\
import json, os, pathlib
pathlib.Path("trace.log").open("a").write("train ")
params = json.loads(pathlib.Path(os.environ["TOURNANT_PARAMS"]).read_text())
assert list(params) == ["scale"], params
assert os.environ["TOURNANT_RUN_ID"]
print("training")
folder = pathlib.Path("model")
folder.mkdir()
(folder / "model.pkl").write_text(str(params["scale"] * int(pathlib.Path("build/sum.txt").read_text())))
(folder / "input_example.json").write_text('[{"x": 1.0}]')
"""
EVALUATE = """\
import json, pathlib
pathlib.Path("trace.log").open("a").write("evaluate ")
value = float(pathlib.Path("model/model.pkl").read_text())
json.dump({"value": value, "nested": {"half": value / 2}, "nan": float("nan")}, open("metrics.json", "w"))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give the project's folder."""
    folder = tmp_path / "tiny"
    (folder / "data").mkdir(parents=True)
    files = {
        "tournant.yaml": PROJECT,
        "prepare.py": PREPARE,
        "train.py": TRAIN,
        "evaluate.py": EVALUATE,
        "requirements.txt": "",
        "data/numbers.txt": "1 2 3",
        ".gitignore": "*.log\n",
    }
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


@pytest.fixture
def run(context: Context, folder: Path) -> Callable[..., PipelineResult]:
    """Run the project."""

    def run(**options: object) -> PipelineResult:
        return run_project(context, folder, **options)  # type: ignore[arg-type]

    return run


def ran(folder: Path) -> list[str]:
    """Give which steps really ran since this was last asked."""
    trace = folder / "trace.log"
    names = trace.read_text().split() if trace.exists() else []
    trace.unlink(missing_ok=True)
    return names


def test_a_run_is_recorded_whole(context: Context, folder: Path, run: Callable[..., PipelineResult]) -> None:
    """Data, params, metrics, code, environment and the model's version all hang together."""
    result = run(tags={"why": "test"})
    assert ran(folder) == ["prepare", "train", "evaluate"]
    assert (result.run.status, result.run.experiment, result.run.name) == (RunStatus.SUCCESSFUL, "tiny", "tiny-1")
    assert result.run.params == {"scale": "2", "note": "hello"}
    assert result.run.metrics == {"value": 12.0, "nested.half": 6.0}
    assert result.run.datasets == ("numbers@1",)
    assert sorted(context.blobs.tree(result.run.code).files) == [
        *(".gitignore", "evaluate.py", "prepare.py", "requirements.txt", "tournant.yaml", "train.py")
    ]
    version = result.model_version
    assert version
    assert (version.id, version.run, version.code, version.datasets) == (
        "tiny@1",
        result.run.id,
        result.run.code,
        ("numbers@1",),
    )
    assert (version.environment, version.metrics) == (result.run.environment, result.run.metrics)
    assert version.tags == {"why": "test"}
    assert [(step.step, step.status, step.exit_code) for step in result.steps] == [
        (name, RunStatus.SUCCESSFUL, 0) for name in ("prepare", "train", "evaluate")
    ]
    assert "training" in Path(result.steps[1].log).read_text()
    with context.transactions.begin(write=False) as uow:
        kinds = [event.kind for event in uow.find(Event, order="recorded_at")]
    assert kinds == [
        *("dataset.version_added", "environment.locked", "experiment.created", "run.created"),
        *("model.version_registered", "run.successful"),
    ]


def test_an_unchanged_pipeline_runs_nothing_and_registers_nothing(
    folder: Path, run: Callable[..., PipelineResult]
) -> None:
    """The second run is answered by the cache, and its model version is the first one."""
    first = run()
    ran(folder)
    said: list[str] = []
    second = run(on_progress=said.append)
    assert ran(folder) == []
    assert second.cached
    assert second.model_version == first.model_version
    assert second.run.metrics == first.run.metrics
    assert said == [
        "prepare: unchanged",
        "train: unchanged",
        "evaluate: unchanged",
        "tiny@1: unchanged",
        "nothing changed",
    ]


@pytest.mark.parametrize(
    ("path", "old", "new", "expected"),
    [
        ("tournant.yaml", "scale: 2", "scale: 3", ["train", "evaluate"]),
        ("tournant.yaml", "note: hello", "note: bye", []),
        ("train.py", "training", "learning", ["train"]),
        ("data/numbers.txt", "1 2 3", "1 2 4", ["prepare", "train", "evaluate"]),
        ("data/numbers.txt", "1 2 3", "3 2 1", ["prepare"]),
        ("requirements.txt", "", "numpy", ["prepare", "train", "evaluate"]),
        ("tournant.yaml", "python train.py,", "python -I train.py,", ["train"]),
    ],
)
def test_only_what_follows_from_a_change_runs_again(
    folder: Path, run: Callable[..., PipelineResult], path: str, old: str, new: str, expected: list[str]
) -> None:
    """A step runs again if its own inputs changed, not merely because an earlier step ran."""
    run()
    ran(folder)
    text = (folder / path).read_text()
    (folder / path).write_text(text.replace(old, new) if old else new)
    run()
    assert ran(folder) == expected


def test_outs_that_were_changed_by_hand_are_put_back(folder: Path, run: Callable[..., PipelineResult]) -> None:
    """What stands in the folder after a run is what the run says, cached or not."""
    run()
    (folder / "model" / "model.pkl").write_text("nonsense")
    (folder / "model" / "extra.txt").write_text("nonsense")
    (folder / "build" / "sum.txt").unlink()
    run()
    assert (folder / "model" / "model.pkl").read_text() == "12"
    assert sorted(path.name for path in (folder / "model").iterdir()) == ["input_example.json", "model.pkl"]
    assert (folder / "build" / "sum.txt").read_text() == "6"


def test_going_back_to_an_earlier_state_is_cached(folder: Path, run: Callable[..., PipelineResult]) -> None:
    """The cache remembers every state there was, not the last one alone."""
    run()
    text = (folder / "tournant.yaml").read_text()
    (folder / "tournant.yaml").write_text(text.replace("scale: 2", "scale: 3"))
    assert run().run.metrics["value"] == 18.0
    (folder / "tournant.yaml").write_text(text)
    ran(folder)
    assert run().run.metrics["value"] == 12.0
    assert ran(folder) == []


def test_force_runs_everything(folder: Path, run: Callable[..., PipelineResult]) -> None:
    """The cache is not asked."""
    run()
    ran(folder)
    assert not run(force=True).cached
    assert ran(folder) == ["prepare", "train", "evaluate"]


def test_named_steps_run_with_what_they_need(folder: Path, run: Callable[..., PipelineResult]) -> None:
    """`train` needs `prepare`; `evaluate` stays away; the model is made, so it is registered."""
    result = run(steps=["train"])
    assert [step.step for step in result.steps] == ["prepare", "train"]
    assert result.model_version
    assert run(steps=["prepare"]).model_version is None
    assert run(register=False).model_version is None
    with pytest.raises(NotFound, match="did you mean 'train'"):
        run(steps=["trian"])


def test_a_failing_step_fails_the_run_with_its_last_lines(
    context: Context, folder: Path, run: Callable[..., PipelineResult]
) -> None:
    """The error has the exit code, the end of the output and the log; what ran before is cached for the next time."""
    (folder / "train.py").write_text("print('here'); raise SystemExit('no such column: late')")
    with pytest.raises(Invalid, match=r"step 'train' failed with exit code 1: python train\.py") as caught:
        run()
    assert "  no such column: late" in caught.value.message
    assert caught.value.place == "pipeline.train"
    with context.transactions.begin(write=False) as uow:
        (failed,) = uow.runs.find(RunQuery())
        steps = uow.find(StepRun, run=failed.id, order="position")
    assert (failed.status, failed.error) == (RunStatus.FAILED, caught.value.message)
    assert [(step.step, step.status, step.exit_code) for step in steps] == [
        ("prepare", RunStatus.SUCCESSFUL, 0),
        ("train", RunStatus.FAILED, 1),
    ]
    (folder / "train.py").write_text(TRAIN)
    ran(folder)
    run()
    assert ran(folder) == ["train", "evaluate"]


@pytest.mark.parametrize(
    ("script", "text", "expected"),
    [
        ("train.py", "pass", "step 'train' ended well but did not make 'model'"),
        ("evaluate.py", "open('metrics.json', 'w').write('{')", "metrics file 'metrics.json' is not JSON"),
        ("evaluate.py", "open('metrics.json', 'w').write('[]')", "must be an object"),
        ("prepare.py", "import os; os.kill(os.getpid(), 9)", "step 'prepare' was killed"),
    ],
)
def test_a_step_that_breaks_its_promise_fails(
    folder: Path, run: Callable[..., PipelineResult], script: str, text: str, expected: str
) -> None:
    """An exit code of 0 is not enough."""
    (folder / script).write_text(text)
    with pytest.raises(Invalid, match=expected):
        run()


def test_a_dataset_version_can_stand_in_for_the_projects_own(
    context: Context, folder: Path, run: Callable[..., PipelineResult], tmp_path: Path
) -> None:
    """A retraining runs a code snapshot on another version of the data."""
    first = run()
    (tmp_path / "numbers.txt").write_text("10 20")
    later = add_dataset_version(context, "numbers", tmp_path / "numbers.txt", source="prediction log")
    snapshot = tmp_path / "snapshot"
    context.blobs.checkout(first.run.code, snapshot)
    result = run_project(context, snapshot, datasets={"numbers": later.id}, tags={"retraining": "r1"})
    assert result.run.datasets == ("numbers@2",)
    assert result.run.code == first.run.code
    assert result.run.metrics["value"] == 60.0
    assert result.model_version
    assert (result.model_version.id, result.model_version.tags) == ("tiny@2", {"retraining": "r1"})
    assert run().run.datasets == ("numbers@1",), "the project's own data is still its first version"
    with context.transactions.begin(write=False) as uow:
        assert uow.count(DatasetVersion) == 2


def test_missing_data_comes_from_the_content_store(
    context: Context, folder: Path, run: Callable[..., PipelineResult]
) -> None:
    """Data that was kept once need not be on disk."""
    run()
    (folder / "data" / "numbers.txt").unlink()
    assert run().cached
    assert (folder / "data" / "numbers.txt").read_text() == "1 2 3"


def test_an_unknown_dataset_is_named(run: Callable[..., PipelineResult]) -> None:
    """Nothing runs when a dataset is asked for that the project does not have."""
    with pytest.raises(NotFound, match=r"no dataset 'letters' \(it has: numbers\)"):
        run(datasets={"letters": "letters@1"})


def test_tests_run_on_a_restored_version(context: Context, run: Callable[..., PipelineResult], tmp_path: Path) -> None:
    """A fresh checkout of the code gets the model and its data back before its tests run."""
    version = run().model_version
    assert version
    checkout = tmp_path / "checkout"
    context.blobs.checkout(version.code, checkout)
    assert run_tests(context, checkout, version.id) == {"small": True, "huge": False}
    assert (checkout / "build" / "sum.txt").read_text() == "6"
    assert (checkout / "data" / "numbers.txt").read_text() == "1 2 3"


def test_independent_steps_run_at_the_same_time(context: Context, tmp_path: Path) -> None:
    """Two steps that wait for each other's sign of life only end if they run together."""
    step = "touch {0}.log; for i in $(seq 500); do test -e {1}.log && touch {0} && exit 0; sleep 0.02; done; exit 1"
    project = {
        "project": "pair",
        "pipeline": {
            "a": {"run": step.format("a", "b"), "outs": ["a"]},
            "b": {"run": step.format("b", "a"), "outs": ["b"]},
        },
    }
    (tmp_path / "pair").mkdir()
    (tmp_path / "pair" / "tournant.yaml").write_text(json.dumps(project))
    result = run_project(context, tmp_path / "pair", jobs=2)
    assert [step.status for step in result.steps] == [RunStatus.SUCCESSFUL] * 2
    assert result.run.environment == ""


def test_a_folder_is_run_once_at_a_time(context: Context, folder: Path, run: Callable[..., PipelineResult]) -> None:
    """A second run in the same folder would change files under the first one."""
    (folder / "prepare.py").write_text("import time, pathlib; pathlib.Path('on.log').touch(); time.sleep(60)")
    failures: list[BaseException] = []

    def run_first() -> None:
        try:
            run()
        except Invalid as exc:
            failures.append(exc)

    thread = threading.Thread(target=run_first)
    thread.start()
    wait_for(lambda: (folder / "on.log").exists())
    with pytest.raises(Conflict, match="being run already"):
        run()
    stop_steps(context)
    thread.join()
    assert "was killed" in str(failures[0])


CHILD = """\
import sys
from pathlib import Path
from tournant.adapters.blobs.local import LocalBlobStore
from tournant.adapters.clock import BusinessClock
from tournant.adapters.compute.local import LocalExecutor
from tournant.adapters.environments.uv import UvEnvironments
from tournant.adapters.sql.transactions import SqlTransactions, create_engine
from tournant.config import Settings
from tournant.services.context import Context
from tournant.services.pipelines import run_project
settings = Settings.load(home=sys.argv[1])
ctx = Context(settings=settings, transactions=SqlTransactions(create_engine(settings.database_url)),
              blobs=LocalBlobStore(settings.home / "blobs"), predictions=None, keys=None,
              executor=LocalExecutor(settings.home / "jobs", settings), environments=UvEnvironments(settings), converter=None,
              notifiers=(), metrics=None, open_remote=None, clock=BusinessClock(None))
run_project(ctx, Path(sys.argv[2]), register=False)
"""


@pytest.mark.parametrize("number", [9, 15])
def test_a_run_that_is_killed_resumes_by_the_cache(context: Context, folder: Path, number: int) -> None:
    """What had ended is not done again; what ran is stopped; the record says that it was interrupted."""
    text = (folder / "tournant.yaml").read_text().replace("environment: {requirements: requirements.txt}\n", "")
    (folder / "tournant.yaml").write_text(text)
    slow = "import time, os, pathlib; pathlib.Path('on.log').write_text(str(os.getpid())); time.sleep(60)"
    (folder / "train.py").write_text(slow)
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(context.settings.home), str(folder)])
    wait_for(lambda: (folder / "on.log").exists() and (folder / "on.log").read_text())
    child.send_signal(number)
    child.wait(30)
    ran(folder)
    (folder / "train.py").write_text(TRAIN)
    result = run_project(context, folder, register=False)
    assert [step.cached for step in result.steps] == [True, False, False]
    assert not is_running(int((folder / "on.log").read_text()))
    with context.transactions.begin(write=False) as uow:
        first, _ = uow.runs.find(RunQuery(order=(parse_order("run_id"),)))
    assert first.status is RunStatus.CANCELLED
    assert first.error.startswith("interrupted")


def is_running(pid: int) -> bool:
    """Tell whether a process runs; one that has ended but was not yet asked for its exit code does not."""
    state = Path(f"/proc/{pid}/stat")
    return state.exists() and state.read_text().rpartition(")")[2].split()[0] != "Z"


def wait_for(condition: Callable[[], object]) -> None:
    """Wait up to 30 seconds."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it never came to be"
        time.sleep(0.02)


def stop_steps(context: Context) -> None:
    """Stop the steps that run."""
    with context.transactions.begin(write=False) as uow:
        steps = uow.find(StepRun, status=RunStatus.RUNNING)
    for step in steps:
        context.executor.stop(f"{step.run}-{step.step}")
