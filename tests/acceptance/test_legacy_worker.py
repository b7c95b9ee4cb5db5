"""Two environments behind one gateway: a model of another Python and scikit-learn in a worker, beside a converted one."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tournant.adapters.environments.uv import UvEnvironments
from tournant.config import Settings
from tournant.domain.environment import Environment

pytestmark = pytest.mark.slow

LEGACY = Path(__file__).parents[2] / "examples" / "flights" / "legacy"
PLATFORM = f"{sys.version_info.major}.{sys.version_info.minor}"
BUILDING_SECONDS = 240


def other_python(environments: UvEnvironments) -> str:
    """Give the oldest other Python that the legacy requirements know, or our own where there is no other."""
    found = sorted(environments.interpreters(), key=lambda version: int(version.split(".")[1]))
    return next((v for v in found if v != PLATFORM and 8 <= int(v.split(".")[1]) <= 13), PLATFORM)


@pytest.fixture(scope="module")
def legacy(shared) -> Path:
    """Train the legacy model in its own environment, as its author did; give the folder with `expected.json`."""
    environments = UvEnvironments(Settings.load(home=shared.home))
    requirements = (LEGACY / "requirements.txt").read_text()
    locked: Environment = environments.lock(python=other_python(environments), requirements=requirements)
    folder = shared.folder / "legacy"
    command = [str(environments.build(locked)), str(LEGACY / "make_legacy.py"), "--out", str(folder / "model")]
    subprocess.run(command, check=True, capture_output=True, timeout=BUILDING_SECONDS)
    return folder


@pytest.fixture(scope="module")
def deployed(shared, legacy) -> dict:
    """Deploy it twice, in a project with a Python of its own: exactly, so in a worker, and converted; give the answers."""
    expected = json.loads((legacy / "expected.json").read_text())
    python = ".".join(expected["python"].split(".")[:2])
    for name, tolerance in (("exact", "0.000000000000001"), ("converted", "0.0001")):
        folder = legacy / name
        shutil.copytree(legacy / "model", folder / "model")
        shutil.copyfile(LEGACY / "requirements.txt", folder / "requirements.txt")
        (folder / "tournant.yaml").write_text(
            f"project: {name}\n"
            f'environment: {{python: "{python}", requirements: requirements.txt}}\n'
            f"model: {{name: {name}, path: model, tolerance: {tolerance}}}\n"
            f"deployments: {{{name}: {{slo: {{p99_ms: 1000}}}}}}\n"
        )
        shared.cli("run", cwd=folder, timeout_seconds=BUILDING_SECONDS).fine()
        shared.cli("deploy", "--wait", cwd=folder, timeout_seconds=BUILDING_SECONDS).fine()
    return expected


def test_one_is_converted_and_one_runs_on_its_own_python(shared, deployed):
    """Both versions keep the author's Python; the one that must be exact is served by a process of it."""
    with shared.client() as client:
        exact, converted = client.models.version(id="exact@1"), client.models.version(id="converted@1")
    assert exact.conversion.status.value == "rejected"
    assert "tolerance" in exact.conversion.summary
    assert converted.conversion.status.value == "successful"
    assert exact.environment == converted.environment
    (worker,) = children_of(shared.record["gateway_pids"][0])
    python = str(Path(f"/proc/{worker}/exe").readlink())
    assert deployed["python"].rpartition(".")[0] in python


@pytest.mark.parametrize(("name", "tolerance"), [("exact", 1e-12), ("converted", 1e-4)])
def test_both_answer_as_where_they_were_trained(shared, deployed, name, tolerance):
    """Every expected request, alone and all in one, gets the score it got in its author's environment."""
    answers = deployed["answers"]
    scores = [answer["score"] for answer in answers]
    rows = [answer["inputs"] for answer in answers]
    status, together = shared.predict(name, inputs=rows)
    assert status == 200, together
    assert [p["score"] for p in together["predictions"]] == pytest.approx(scores, abs=tolerance)
    for row, score in zip(rows[:10], scores, strict=False):
        status, alone = shared.predict(name, inputs=row)
        assert (status, alone["model_version"]) == (200, f"{name}@1")
        assert alone["predictions"][0]["score"] == pytest.approx(score, abs=tolerance)


def test_a_killed_worker_comes_back(shared, deployed, processes, wait):
    """SIGKILL of the worker: the converted one goes on, another worker gives the same answers, and nothing is left of it when tournant stops."""
    row, score = deployed["answers"][0]["inputs"], deployed["answers"][0]["score"]
    before = shared.record
    workers = children_of(before["gateway_pids"][0])
    assert workers
    for pid in workers:
        os.kill(pid, 9)
    assert shared.predict("converted", inputs=row)[0] == 200
    _, answer = wait(lambda: (given := shared.predict("exact", inputs=row))[0] == 200 and given)
    assert answer["predictions"][0]["score"] == pytest.approx(score, abs=1e-12)
    assert shared.record == before
    left = children_of(before["gateway_pids"][0])
    shared.cli("down").fine()
    wait(lambda: not any(Path(f"/proc/{pid}").exists() for pid in left))
    wait(lambda: not processes(shared.home))


def children_of(pid: int) -> list[int]:
    """Give a gateway's children that serve a model."""
    files = (Path("/proc") / str(pid) / "task").glob("*/children")
    children = [int(child) for file in files for child in file.read_text().split()]
    return [child for child in children if b"worker.py" in Path(f"/proc/{child}/cmdline").read_bytes()]
