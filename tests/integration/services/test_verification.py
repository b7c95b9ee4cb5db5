"""Verifying versions of a tiny model, trained with numpy on the interpreter of the tests."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tournant.adapters.compute.local import LocalExecutor
from tournant.domain.control import Event
from tournant.domain.data import StepCacheEntry
from tournant.domain.deployment import Requirement
from tournant.domain.environment import Environment
from tournant.domain.machine import StepMachine
from tournant.domain.tracking import RunStatus
from tournant.domain.verification import Cause, Verdict, Verification
from tournant.errors import Invalid
from tournant.services.context import Context
from tournant.services.model_files import ModelFolder
from tournant.services.pipelines import run_project
from tournant.services.project_models import register_file
from tournant.services.registry import Provenance, get_version, register_model
from tournant.services.signing import check_signature
from tournant.services.tracking import find_runs, get_run
from tournant.services.verification import list_verifications, verify_version
from tournant.services.vouching import vouch_for

PROJECT = """\
project: ridge
environment: {requirements: requirements.txt}
data: {rows: data/rows.csv}
params: {strength: 0.1, seed: 7}
pipeline:
  prepare: {run: python prepare.py, deps: [data/rows.csv], outs: [build/rows.npy]}
  train: {run: python train.py, deps: [build/rows.npy], params: [strength, seed], outs: [model], metrics: [metrics.json]}
model: {path: model, flavor: python, predict: predict}
"""
PREPARE = """\
import numpy
numpy.save("build/rows.npy", numpy.loadtxt("data/rows.csv", delimiter=",", skiprows=1))
"""
LINEAR = """\
class Linear:
    def __init__(self, weights):
        self.weights = weights

    def predict(self, rows):
        return rows @ self.weights
"""
TRAIN = """\
import json, os, pathlib, pickle, shutil, sys, time
import numpy
params = json.loads(pathlib.Path(os.environ["TOURNANT_PARAMS"]).read_text())
rows = numpy.load("build/rows.npy")
x, y = rows[:, :-1], rows[:, -1]
random = numpy.random.default_rng(params["seed"])
keep = random.random(len(x)) < 0.8
weights = numpy.linalg.solve(x[keep].T @ x[keep] + params["strength"] * numpy.eye(x.shape[1]), x[keep].T @ y[keep])
folder = pathlib.Path("model")
folder.mkdir()
shutil.copy("linear.py", folder)
sys.path.insert(0, "model")
from linear import Linear
(folder / "model.pkl").write_bytes(pickle.dumps(Linear(weights)))
(folder / "input_example.json").write_text('[{"a": 1.0, "b": 2.0, "c": 3.0}]')
error = float(numpy.mean((y - x @ weights) ** 2))
json.dump({"mse": error, "fit_seconds": time.time()}, open("metrics.json", "w"))
"""
UNSEEDED = TRAIN.replace('default_rng(params["seed"])', "default_rng()")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give the project's folder."""
    folder = tmp_path / "ridge"
    (folder / "data").mkdir(parents=True)
    rows = [(i % 7 - 3, i % 5 - 2, i % 11 / 10, (i % 7) * 2 - (i % 5) + i % 3) for i in range(200)]
    files = {
        "tournant.yaml": PROJECT,
        "prepare.py": PREPARE,
        "train.py": TRAIN,
        "linear.py": LINEAR,
        "requirements.txt": "",
        "data/rows.csv": "\n".join(["a,b,c,y", *(",".join(map(str, row)) for row in rows)]) + "\n",
    }
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


@pytest.fixture
def version(context: Context, folder: Path) -> str:
    """Give the version that the project makes."""
    made = run_project(context, folder).model_version
    assert made
    return made.id


def change(folder: Path, path: str, old: str, new: str) -> None:
    """Replace a text that stands once in a file."""
    text = (folder / path).read_text()
    assert text.count(old) == 1, f"{path} has {old!r} {text.count(old)} times"
    (folder / path).write_text(text.replace(old, new))


def test_an_unchanged_record_is_identical(context: Context, version: str) -> None:
    """Every prediction is the same to the last bit; how long it took is not compared; the model's bytes may differ."""
    said: list[str] = []
    found = verify_version(context, version, on_progress=said.append)
    assert (found.verdict, found.causes, found.changed, found.max_difference) == (Verdict.IDENTICAL, (), (), 0.0)
    assert found.metrics == {}
    assert found.rows == 201  # the example and the data's rows
    assert found.outs["build/rows.npy"][0] == found.outs["build/rows.npy"][1] != ""
    assert found.outs["metrics.json"][0] != found.outs["metrics.json"][1]
    assert found.from_record
    assert found.proves
    assert len(found.runs) == 1
    assert said == ["ridge@1: making it again"]


def test_a_verification_is_kept_with_its_version(context: Context, version: str) -> None:
    """It is found again, has an event, and leaves no folder behind."""
    found = verify_version(context, version)
    assert list_verifications(context, version) == [found]
    with context.transactions.begin(write=False) as uow:
        events = uow.find(Event, kind="model.version_verified")
    assert [event.summary for event in events] == ["ridge@1 verified: identical"]
    assert list((context.settings.home / "verifications").iterdir()) == []


def test_a_verification_leaves_project_and_step_cache_alone(context: Context, folder: Path, version: str) -> None:
    """Its runs are in an experiment of their own, and what they make never answers for a step."""
    with context.transactions.begin(write=False) as uow:
        before = uow.find(StepCacheEntry, order="key")
    verify_version(context, version)
    with context.transactions.begin(write=False) as uow:
        assert uow.find(StepCacheEntry, order="key") == before
    assert [run.tags["tournant.verifies"] for run in find_runs(context, experiment="verify-ridge")] == [version]
    assert run_project(context, folder).cached


def test_a_version_whose_steps_were_all_cached_is_verified_too(context: Context, folder: Path, version: str) -> None:
    """The record of the machine goes over to a run that was answered by the cache."""
    again = run_project(context, folder, tags={"why": "again"})
    assert again.cached
    assert again.model_version
    with context.transactions.begin(write=False) as uow:
        machines = uow.find(StepMachine, run=again.run.id, order="step")
    assert [machine.step for machine in machines] == ["prepare", "train"]
    assert machines[0].machine.variables["OMP_NUM_THREADS"] == "1"
    assert verify_version(context, again.model_version.id).verdict is Verdict.IDENTICAL


INJECTED = {
    "code": ("train.py", "< 0.8", "< 0.7", Cause.CODE, "train.py:7 (- keep = random.random(len(x)) < 0.8 + keep"),
    "command": ("tournant.yaml", "python train.py", "python -I train.py", Cause.CODE, "command of train"),
    "data": ("data/rows.csv", "a,b,c,y\n-3,-2", "a,b,c,y\n-9,-2", Cause.DATA, "rows: rows.csv (−1 +1 of 201 rows)"),
    "params": ("tournant.yaml", "strength: 0.1", "strength: 0.2", Cause.PARAMS, "strength 0.1 → 0.2"),
}


@pytest.mark.parametrize("kind", INJECTED)
def test_one_change_in_the_folder_is_named_and_nothing_else(
    context: Context, folder: Path, version: str, kind: str
) -> None:
    """The folder as it is now, against the record: the cause and where it is."""
    path, old, new, cause, words = INJECTED[kind]
    change(folder, path, old, new)
    found = verify_version(context, version, project=folder)
    effect = Verdict.IDENTICAL if kind == "command" else Verdict.DIFFERENT
    assert found.verdict is effect
    named = found.changed if kind == "command" else found.causes
    assert [difference.cause for difference in named] == [cause]
    assert words in named[0].summary
    assert not found.proves
    assert found.confirmed is (kind != "command")
    assert verify_version(context, version).verdict is Verdict.IDENTICAL  # the record still holds


def test_of_several_changes_the_guilty_one_is_found(context: Context, folder: Path, version: str) -> None:
    """Each kind of change is tried alone; what makes no difference is told apart."""
    change(folder, "tournant.yaml", "strength: 0.1", "strength: 0.3")
    change(folder, "linear.py", "class Linear", "# as ever\nclass Linear")
    change(folder, "tournant.yaml", "outs: [model],", "outs: [model], resources: {threads: 2},")
    found = verify_version(context, version, project=folder)
    assert [(d.cause, d.summary) for d in found.causes] == [(Cause.PARAMS, "strength 0.1 → 0.3")]
    assert {d.cause for d in found.changed} == {Cause.CODE, Cause.THREADS}
    assert found.summary.startswith("different because of params: strength 0.1 → 0.3 (largest difference ")
    assert len(found.runs) == 5  # as the folder is, as recorded, and each kind alone


def test_a_missing_seed_is_named_with_its_step(context: Context, folder: Path) -> None:
    """Two runs of the record that differ between themselves are not seeded, wherever the rest agrees."""
    (folder / "train.py").write_text(UNSEEDED)
    made = run_project(context, folder).model_version
    assert made
    found = verify_version(context, made.id)
    assert (found.verdict, found.confirmed) == (Verdict.DIFFERENT, True)
    assert [(d.cause, d.name.partition(" gives")[0]) for d in found.causes] == [(Cause.SEED, "step train")]


def test_a_missing_seed_is_told_from_a_change(context: Context, folder: Path) -> None:
    """A change in a project that has no seed is not to blame."""
    (folder / "train.py").write_text(UNSEEDED)
    made = run_project(context, folder).model_version
    assert made
    change(folder, "tournant.yaml", "strength: 0.1", "strength: 0.2")
    found = verify_version(context, made.id, project=folder)
    assert [d.cause for d in found.causes] == [Cause.SEED]
    assert [d.cause for d in found.changed] == [Cause.PARAMS]


def test_what_stands_nowhere_on_record_is_said_to(context: Context, folder: Path, tmp_path: Path) -> None:
    """A file outside of the project made the difference: nothing on record explains it, and two runs agree."""
    outside = tmp_path / "outside.txt"
    outside.write_text("0.8")
    change(folder, "train.py", "< 0.8", f"< float(open({str(outside)!r}).read())")
    made = run_project(context, folder).model_version
    assert made
    outside.write_text("0.5")
    found = verify_version(context, made.id)
    assert (found.verdict, found.confirmed) == (Verdict.DIFFERENT, False)
    assert [d.cause for d in found.causes] == [Cause.UNRECORDED]


def test_a_step_that_fails_now_is_different_and_says_how(context: Context, folder: Path, tmp_path: Path) -> None:
    """What the record lacks may be what a step cannot do without."""
    outside = tmp_path / "outside.txt"
    outside.write_text("0.8")
    change(folder, "train.py", "< 0.8", f"< float(open({str(outside)!r}).read())")
    made = run_project(context, folder).model_version
    assert made
    outside.unlink()
    found = verify_version(context, made.id)
    assert found.verdict is Verdict.DIFFERENT
    assert [d.cause for d in found.causes] == [Cause.FAILURE]
    assert found.causes[0].name.startswith("step 'train' failed with exit code 1: python train.py: FileNotFoundError")
    assert found.max_difference is None


def test_a_cpu_kernel_of_here_is_named_and_the_recorded_one_restored(
    context: Context, folder: Path, version: str
) -> None:
    """Another OpenBLAS kernel gives other last digits; with the recorded one they are the same again."""
    elsewhere = {**context.settings.environ, "OPENBLAS_CORETYPE": "Nehalem"}
    settings = replace(context.settings, environ=elsewhere)
    other = replace(context, settings=settings, executor=LocalExecutor(settings.home / "jobs", settings))
    found = verify_version(other, version)
    assert found.verdict is Verdict.EQUIVALENT
    assert found.max_difference
    assert {d.cause for d in found.causes} == {Cause.KERNEL}
    assert "OPENBLAS_CORETYPE none → Nehalem" in [d.summary for d in found.causes]
    assert found.confirmed
    made = run_project(other, folder, force=True, tags={"on": "nehalem"}).model_version
    assert made
    assert verify_version(context, made.id).verdict is Verdict.IDENTICAL


def test_packages_are_named_with_their_versions(context: Context, folder: Path, version: str) -> None:
    """A changed lock is told by package, whether it matters or not."""
    (folder / "requirements.txt").write_text("numpy==2.3.0 --hash=sha256:00\n")
    found = verify_version(context, version, project=folder)
    assert found.verdict is Verdict.IDENTICAL  # environments are not really built in this test
    assert [(d.cause, d.summary) for d in found.changed] == [(Cause.ENVIRONMENT, "numpy none → 2.3.0")]


def test_without_explaining_all_changes_are_suspects(context: Context, folder: Path, version: str) -> None:
    """Nothing is made a second time, and nothing is said to be sure."""
    change(folder, "tournant.yaml", "strength: 0.1", "strength: 0.3")
    found = verify_version(context, version, project=folder, explain=False)
    assert ([d.cause for d in found.causes], found.confirmed, len(found.runs)) == ([Cause.PARAMS], False, 1)


def test_the_tolerance_decides(context: Context, folder: Path, version: str) -> None:
    """A small change is equivalent within a tolerance that says so, and still named."""
    change(folder, "tournant.yaml", "strength: 0.1", "strength: 0.10001")
    strict = verify_version(context, version, project=folder, tolerance=0.0)
    loose = verify_version(context, version, project=folder, tolerance=0.1)
    assert (strict.verdict, loose.verdict) == (Verdict.DIFFERENT, Verdict.EQUIVALENT)
    assert [d.summary for d in loose.causes] == ["strength 0.1 → 0.10001"]


def test_params_of_the_run_are_restored(context: Context, folder: Path, version: str) -> None:
    """What the run was given counts, not what its file says; the file as it is now is a change of params."""
    made = run_project(context, folder, params={"strength": 0.5}).model_version
    assert made
    assert made.id != version
    assert verify_version(context, made.id).verdict is Verdict.IDENTICAL
    found = verify_version(context, made.id, project=folder)
    assert [d.summary for d in found.causes] == ["strength 0.5 → 0.1"]


def test_a_param_in_a_command_is_no_change_of_code(context: Context, folder: Path) -> None:
    """The command says `${strength}`: another value is a change of the param, found beside one of the code."""
    change(folder, "tournant.yaml", "python train.py,", "'python train.py ${strength}',")
    change(folder, "tournant.yaml", "params: [strength, seed]", "params: [seed]")
    change(folder, "train.py", 'params["strength"]', "float(sys.argv[1])")
    made = run_project(context, folder).model_version
    assert made
    change(folder, "tournant.yaml", "strength: 0.1", "strength: 0.9")
    change(folder, "linear.py", "class Linear", "# as ever\nclass Linear")
    found = verify_version(context, made.id, project=folder)
    assert [d.summary for d in found.causes] == ["strength 0.1 → 0.9"]
    assert [d.cause for d in found.changed] == [Cause.CODE]


def test_what_a_frozen_step_had_made_is_taken_from_the_record(context: Context, folder: Path) -> None:
    """It is not run again for a verification, and need not even run any more."""
    run_project(context, folder)
    change(folder, "tournant.yaml", "prepare: {", "prepare: {frozen: true, ")
    change(folder, "prepare.py", "import numpy", "raise SystemExit('frozen')")
    made = run_project(context, folder, force=True, tags={"why": "frozen"}).model_version
    assert made
    assert verify_version(context, made.id).verdict is Verdict.IDENTICAL


def test_a_challenger_is_vouched_for_as_its_deployment_requires(context: Context, folder: Path, version: str) -> None:
    """Signed and verified once; one that its record does not recreate is refused with the reason."""
    require = (Requirement.SIGNED, Requirement.VERIFIED)
    assert vouch_for(context, get_version(context, version), require, say=None) == ""
    assert check_signature(context, version).holds
    assert vouch_for(context, get_version(context, version), require, say=None) == ""
    assert len(list_verifications(context, version)) == 1
    (folder / "train.py").write_text(UNSEEDED)
    unsteady = run_project(context, folder).model_version
    assert unsteady
    assert vouch_for(context, unsteady, (), say=None) == ""
    refusal = vouch_for(context, unsteady, require, say=None)
    assert refusal.startswith("it cannot be recreated from its record: different because of seed: step train")


@pytest.mark.parametrize(
    ("options", "words"),
    [({"tolerance": -1.0}, "a tolerance is a number from 0"), ({"threads": 0}, "a whole number from 1")],
)
def test_bad_options_are_refused(context: Context, version: str, options: dict[str, float], words: str) -> None:
    """Before anything runs."""
    with pytest.raises(Invalid, match=words):
        verify_version(context, version, **options)  # type: ignore[arg-type]


def test_a_version_without_a_pipeline_cannot_be_verified(
    context: Context, tmp_path: Path, register: Callable[[], Verification]
) -> None:
    """It says why, and what to do about it."""
    with pytest.raises(Invalid, match=r"bare@1 cannot be recreated: it has no run of a pipeline.*tournant run"):
        verify_version(context, "bare@1")


@pytest.fixture
def register(context: Context, tmp_path: Path) -> None:
    """Register a bare file."""
    (tmp_path / "model.pkl").write_bytes(b"nothing")
    (tmp_path / "requirements.txt").write_text("numpy==2.3.0\n")
    register_file(context, tmp_path / "model.pkl", name="bare", requirements=tmp_path / "requirements.txt")


def test_environments_are_compared_by_package() -> None:
    """Both spellings of a name are one package."""
    from tournant.domain.environment import packages

    lock = "scikit_learn==1.5.2 \\\n    --hash=sha256:00\nNumPy==2.0.0 ; python_version < '3.13'\n"
    assert packages(Environment(digest="", python="3.11", lock=lock).lock) == {
        "scikit-learn": "1.5.2",
        "numpy": "2.0.0",
    }


CHILD = """\
import sys
from tournant.bootstrap.house import open_context
from tournant.config import Settings
from tournant.services.verification import verify_version
verify_version(open_context(Settings.load(home=sys.argv[1])), sys.argv[2])
"""


def test_a_verification_that_is_terminated_leaves_nothing_running(
    context: Context, folder: Path, tmp_path: Path
) -> None:
    """SIGTERM stops its steps, puts the run on record as cancelled, and takes its folder away."""
    mark = tmp_path / "mark"
    change(folder, "tournant.yaml", "environment: {requirements: requirements.txt}\n", "")
    slow = f"import os, time\nopen({str(mark)!r}, 'w').write(str(os.getpid()))\ntime.sleep(float(os.environ.get('NAP', '0')))\n"
    (folder / "train.py").write_text(slow + TRAIN)
    made = run_project(context, folder, register=False).run
    version = register_example(context, folder, made.id)
    mark.unlink()
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(context.settings.home), version], env={**os.environ, "NAP": "60"}
    )
    deadline = time.monotonic() + 30
    while not (mark.exists() and mark.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    child.terminate()
    child.wait(30)
    state = Path(f"/proc/{mark.read_text()}/stat")
    assert not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z"
    (run,) = find_runs(context, experiment="verify-ridge")
    assert run.status is RunStatus.CANCELLED
    assert list((context.settings.home / "verifications").iterdir()) == []


def register_example(context: Context, folder: Path, run: str) -> str:
    """Register what a run without an environment of its own has made."""
    found = get_run(context, run)
    model = ModelFolder(
        path=folder / "model", entry="model.pkl", flavor="python", example=({"a": 1.0, "b": 2.0, "c": 3.0},)
    )
    provenance = Provenance(run=run, code=found.code, datasets=found.datasets, metrics=found.metrics)
    return register_model(context, model, name="ridge", environment=None, predict="predict", provenance=provenance).id
