"""The example project: its data, its model, its broken models and its legacy model, in environments of their own."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from tournant.adapters.environments.uv import UvEnvironments
from tournant.config import Settings
from tournant.conversion import OnnxConverter
from tournant.domain.environment import Environment
from tournant.domain.registry import ConversionStatus
from tournant.errors import TournantError
from tournant.ports import ConversionRequest, InspectionRequest
from tournant.services.projects import load_project
from tournant.serving.replica import Replica
from tournant.serving.worker_process import WorkerModel

pytestmark = pytest.mark.slow

EXAMPLE = Path(__file__).parents[3] / "examples" / "flights"
PLATFORM = f"{sys.version_info.major}.{sys.version_info.minor}"


class Project:
    """A copy of the example with its environment built and its pipeline run."""

    def __init__(self, folder: Path, environments: UvEnvironments, settings: Settings) -> None:
        self.folder, self.environments, self.settings = folder, environments, settings
        self.environment = environments.lock(python="", requirements=(folder / "requirements.txt").read_text())
        self.python = environments.build(self.environment)

    def run(self, *arguments: str, **environ: str) -> str:
        """Run a script as a step would; give what it printed."""
        done = subprocess.run(
            [str(self.python), *arguments],
            cwd=self.folder,
            capture_output=True,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "2", **environ},
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def sql(self, query: str) -> list[tuple]:
        """Ask DuckDB, with file names relative to the project."""
        with duckdb.connect() as connection:
            connection.execute(f"SET file_search_path = '{self.folder}'")
            return connection.execute(query).fetchall()

    def inspect(self, model: str):
        """Look into a model folder."""
        return OnnxConverter(self.environments, self.settings).inspect(
            InspectionRequest(
                folder=self.folder / model,
                entry="model.pkl",
                flavor="sklearn",
                example=json.loads((self.folder / model / "input_example.json").read_text()),
                environment=self.environment,
            )
        )

    def convert(self, model: str):
        """Convert a model folder, compared on the reference rows too."""
        looked = self.inspect(model)
        request = ConversionRequest(
            folder=self.folder / model,
            entry="model.pkl",
            flavor="sklearn",
            predict=looked.predict,
            signature=looked.signature,
            example=looked.example,
            environment=self.environment,
            target=self.folder / f"{model.replace('/', '-')}.onnx",
            sample=self.folder / "build" / "reference.parquet",
        )
        return OnnxConverter(self.environments, self.settings).convert(request)


@pytest.fixture(scope="module")
def settings(tmp_path_factory) -> Settings:
    return Settings.load(home=tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def environments(settings) -> UvEnvironments:
    return UvEnvironments(settings)


@pytest.fixture(scope="module")
def project(tmp_path_factory, environments, settings) -> Project:
    """Fetch January and May, run the pipeline on January, and make the broken models."""
    folder = tmp_path_factory.mktemp("project") / "flights"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns(".*", "__pycache__", "build", "data"))
    project = Project(folder, environments, settings)
    project.run("-W", "error", "fetch.py", "--months", "1", "--out", "data/flights.parquet")
    project.run("fetch.py", "--months", "5", "--out", "data/may.parquet")
    project.printed = project.run("prepare.py")
    for script in ("train.py", "evaluate.py", "broken.py"):
        project.run(script)
    return project


def test_the_project_file_is_valid(project):
    """`tournant.yaml` reads without a complaint, and names what the scripts write."""
    read = load_project(project.folder)
    assert read.model.reference == "build/reference.parquet"
    assert read.deployments["flights"].retraining.dataset == "flights"
    assert all((project.folder / out).exists() for step in read.steps for out in (*step.outs, *step.metrics))


def test_requests_are_unique_and_labelled_openly(project):
    """Keys are unique; the 606 flights of January that were cancelled or diverted are there, and have no label."""
    rows, keys, unlabelled = project.sql(
        "SELECT count(*), count(DISTINCT key), count(*) - count(late) FROM 'data/flights.parquet'"
    )[0]
    assert (rows, keys, unlabelled) == (27_004, 27_004, 606)
    assert "dropped 606 of 27004" in project.printed


def test_a_flight_knows_the_weather_of_the_hour_before(project):
    """UA 1545 from Newark at 5:15 on New Year's Day: 10:15 UTC, and the weather of 4 o'clock, in sixteenths."""
    found = project.sql(
        "SELECT epoch(TIMESTAMP '2013-01-01 10:15:00') - event_time, departure_minute, temp, wind_speed, weekday, late "
        "FROM 'data/flights.parquet' WHERE key = '2013-01-01-UA-1545-EWR-0515'"
    )
    assert found == [(0.0, 315.0, 39.9375, 12.6875, 1.0, 0.0)]


def test_numbers_are_exact_in_single_precision(project):
    """So the same thresholds decide in scikit-learn and in ONNX."""
    numbers = [c.name for c in project.inspect("model").signature.inputs if c.type == "number"]
    differing = " OR ".join(f"CAST(CAST({name} AS FLOAT) AS DOUBLE) <> {name}" for name in numbers)
    assert len(numbers) == 15
    assert project.sql(f"SELECT count(*) FROM 'data/may.parquet' WHERE {differing}") == [(0,)]


def test_held_out_days_are_not_learned_from(project):
    """No day is in both halves; about a quarter of the days is held out, the last one among them."""
    days = {
        name: {day for (day,) in project.sql(f"SELECT DISTINCT event_time // 86400 FROM 'build/{name}.parquet'")}
        for name in ("train", "test")
    }
    assert not days["train"] & days["test"]
    assert max(days["test"]) > max(days["train"])
    assert 0.2 < len(days["test"]) / (len(days["test"]) + len(days["train"])) < 0.3


def test_the_last_days_can_be_held_out_instead(project, tmp_path):
    """`holdout: last` splits by time alone."""
    copy = tmp_path / "copy"
    shutil.copytree(project.folder, copy)
    (tmp_path / "params.json").write_text('{"holdout": "last", "holdout_every": 4}')
    other = Project(copy, project.environments, project.settings)
    other.run("prepare.py", TOURNANT_PARAMS=str(tmp_path / "params.json"))
    last, first = (
        other.sql(f"SELECT {f}(event_time) FROM 'build/{n}.parquet'")[0][0]
        for f, n in (("max", "train"), ("min", "test"))
    )
    assert last < first


def test_the_model_is_better_than_guessing(project):
    """Metrics of the held-out days, and reference rows with their scores."""
    metrics = json.loads((project.folder / "metrics.json").read_text())
    assert metrics["auroc"] > 0.68
    assert metrics["log_loss"] < 0.53
    rows, worst = project.sql("SELECT count(*), max(abs(score - 0.5)) FROM 'build/reference.parquet'")[0]
    assert rows == metrics["rows"]
    assert worst <= 0.5


def test_the_projects_own_tests_pass_and_can_fail(project):
    """Every check of tournant.yaml passes on the model, and the one on behaviour fails on a model with wrong units."""
    checks = load_project(project.folder).tests
    assert len(checks) == 4
    for check in checks:
        assert "passed" in project.run("tests/check.py", check.name)
    with pytest.raises(AssertionError, match="no better than"):
        project.run("tests/check.py", "beats_base_rate", TOURNANT_MODEL="broken/wrong_units")


def test_every_input_that_may_be_missing_is_declared_so(project):
    """The example has a request without weather and plane, so the last day of the year, which has no weather, is served."""
    nullable = {column.name for column in project.inspect("model").signature.inputs if column.nullable}
    assert {
        "temp",
        "dewp",
        "humid",
        "wind_dir",
        "wind_speed",
        "rain",
        "pressure",
        "visib",
        "plane_year",
        "seats",
    } <= nullable


@pytest.mark.parametrize("model", ["model", "broken/wrong_units"])
def test_the_models_convert(project, model):
    """The good model and the one with wrong units run as ONNX, equal on all reference rows."""
    conversion = project.convert(model)
    assert conversion.status is ConversionStatus.SUCCESSFUL, conversion.reason
    assert conversion.max_difference < 1e-4


@pytest.mark.parametrize("model", ["broken/raises", "broken/slow"])
def test_models_of_a_class_of_their_own_do_not_convert(project, model):
    """No converter knows their class: they run in a worker."""
    assert project.convert(model).status is ConversionStatus.FAILED


def test_wrong_units_show_in_the_labels_only(project):
    """Scores of the model with wrong units look like probabilities; its log loss in May is clearly worse."""
    code = (
        "import duckdb, joblib, json; from sklearn.metrics import log_loss; from columns import INPUTS\n"
        "f = duckdb.read_parquet('data/may.parquet').df().dropna(subset=['late'])\n"
        "s = [joblib.load(m + '/model.pkl').predict_proba(f[INPUTS])[:, 1] for m in ('model', 'broken/wrong_units')]\n"
        "print(json.dumps([log_loss(f.late, x) for x in s] + [float(s[1].min()), float(s[1].max())]))"
    )
    good, wrong, least, most = json.loads(project.run("-c", code))
    assert wrong - good > 0.1
    assert 0.02 < least < most < 0.98


def test_one_model_raises_on_small_carriers_only(project):
    """In a worker, flights of small carriers fail by name, and the others get the good model's answers."""
    row = json.loads((project.folder / "broken" / "raises" / "input_example.json").read_text())[0]
    signature = project.inspect("broken/raises").signature
    values = [tuple(given[column.name] for column in signature.inputs) for given in (row, {**row, "carrier": "FL"})]
    fine, failed = asyncio.run(
        answers(project.python, project.folder / "broken" / "raises", signature, values, project.settings)
    )
    assert 0 < fine < 1
    assert isinstance(failed, Exception)
    assert "FL" in str(failed)


def test_a_legacy_model_answers_as_in_its_own_environment(environments, settings, tmp_path):
    """A model of another Python and scikit-learn, in a worker of its own environment, gives the answers it gave there."""
    environment = legacy_environment(environments)
    python = environments.build(environment)
    folder = tmp_path / "legacy" / "model"
    script = EXAMPLE / "legacy" / "make_legacy.py"
    subprocess.run([str(python), str(script), "--out", str(folder)], check=True, capture_output=True)
    expected = json.loads((folder.parent / "expected.json").read_text())
    assert not expected["python"].startswith(f"{PLATFORM}.") or len(environments.interpreters()) == 1
    example = json.loads((folder / "input_example.json").read_text())
    looked = OnnxConverter(environments, settings).inspect(
        InspectionRequest(folder=folder, entry="model.pkl", flavor="sklearn", example=example, environment=environment)
    )
    rows = [
        tuple(answer["inputs"][column.name] for column in looked.signature.inputs) for answer in expected["answers"]
    ]
    given = asyncio.run(answers(python, folder, looked.signature, rows, settings))
    assert given == pytest.approx([answer["score"] for answer in expected["answers"]], abs=1e-12)


def legacy_environment(environments: UvEnvironments) -> Environment:
    """Lock the legacy requirements for the oldest other Python there is."""
    found = sorted(environments.interpreters(), key=lambda version: int(version.split(".")[1]))
    others = [version for version in found if version != PLATFORM and 8 <= int(version.split(".")[1]) <= 13]
    requirements = (EXAMPLE / "legacy" / "requirements.txt").read_text()
    return environments.lock(python=(others or [PLATFORM])[0], requirements=requirements)


async def answers(python: Path, folder: Path, signature, rows: list[tuple], settings: Settings) -> list:
    """Give what a worker answers to each row: a score or the error."""
    replica = Replica(
        WorkerModel(
            python=python,
            folder=folder,
            entry="model.pkl",
            predict="predict_proba",
            signature=signature,
            log=settings.home / "worker.log",
            environ={"PATH": os.environ["PATH"]},
        )
    )
    await replica.start()
    try:
        found = []
        for row in rows:
            try:
                found.extend(await replica.predict([row]))
            except TournantError as exc:
                found.append(exc)
        return found
    finally:
        await replica.close()
