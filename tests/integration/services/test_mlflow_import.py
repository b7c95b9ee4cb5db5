"""Imports of MLflow's stores: an `mlruns` folder, and its database on SQLite and PostgreSQL, with the same store in each."""

import contextlib
import json
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from mlflow_checks import check_models, check_runs, content, points
from mlflow_stores import (
    DELETED,
    FILES,
    FINISHED,
    LOSSES,
    ODD,
    RUNNING,
    RUNS,
    SINCE_MLFLOW_2,
    TRASHED,
    StoredRun,
    insert_run,
    write_database,
    write_mlruns,
    write_run,
)
from s3server import s3_server
from tournant.adapters.blobs.bucket import open_bucket
from tournant.adapters.sql.transactions import SqlTransactions, create_engine
from tournant.bootstrap.house import open_context
from tournant.bootstrap.mlflow import open_mlflow_source
from tournant.config import Settings
from tournant.domain.registry import AliasMove, ModelAlias, ModelVersion, RegisteredModel
from tournant.domain.tracking import RunStatus
from tournant.errors import Invalid, NotFound
from tournant.services.aliases import protect_aliases, set_alias
from tournant.services.context import Context
from tournant.services.experiments import find_experiment, restore_experiment
from tournant.services.mlflow_import import import_mlflow
from tournant.services.mlflow_import_report import MlflowImport
from tournant.services.tracking import create_run, delete_run, get_run, restore_run
from tournant.services.versions import create_version

Bring = Callable[..., MlflowImport]


@pytest.fixture
def mlruns(tmp_path: Path) -> Path:
    """Write an `mlruns` folder."""
    return write_mlruns(tmp_path / "project" / "mlruns")


@pytest.fixture
def bring(context: Context) -> Bring:
    """Import from an address into the context's home."""

    def bring(address: object, **options: str) -> MlflowImport:
        with open_mlflow_source(context.settings, str(address), **options) as source:
            return import_mlflow(context, source)

    return bring


@pytest.fixture(params=["folder", "sqlite", "postgres"])
def address(request: pytest.FixtureRequest, mlruns: Path, tmp_path: Path) -> Iterator[str]:
    """Give the address of the store as one of the three."""
    if request.param == "folder":
        yield str(mlruns)
        return
    url = f"sqlite:///{tmp_path / 'mlflow.db'}"
    if request.param == "postgres":
        server = sa.make_url(request.getfixturevalue("postgres_url"))
        url = server.set(database="mlflow_store").render_as_string(hide_password=False)
        administer(server, "DROP DATABASE IF EXISTS mlflow_store WITH (FORCE)")
        administer(server, "CREATE DATABASE mlflow_store")
    engine = create_engine(url)
    write_database(engine, mlruns)
    engine.dispose()
    yield url


def administer(server: sa.URL, statement: str) -> None:
    engine = create_engine(server.render_as_string(hide_password=False))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql(statement)
    engine.dispose()


def reasons(report: MlflowImport) -> dict[tuple[str, str], str]:
    return {(left.noun, left.name): left.reason for left in report.left}


def test_everything_comes_once(context: Context, bring: Bring, address: str) -> None:
    """Runs, histories, inputs, files, models, versions and aliases; what cannot come is named; the next import finds it all."""
    report = bring(address)
    assert (report.experiments, report.runs, report.logged_models, report.models) == (2, 4, 1, 1)  # Default is here
    assert (report.versions, report.aliases, report.datasets, report.files) == (3, 1, 1, 5)
    assert report.points == len(LOSSES) + len(ODD) + 1 + 2
    left = reasons(report)
    assert left[("prompt", "greeting")] == "tournant keeps no prompts"
    assert "does not read hdfs" in left[("artifacts", "model version churn@4")]
    assert len(left) == 2
    check_runs(context)
    check_models(context)
    again = bring(address)
    assert (again.experiments, again.runs, again.points, again.files, again.versions, again.models) == (0,) * 6
    assert (again.unchanged, reasons(again)) == (4 + 1 + 3, left)


def test_everything_comes_into_either_database(context: Context, transactions: SqlTransactions, mlruns: Path) -> None:
    """A house on SQLite, and one on PostgreSQL."""
    house = replace(context, transactions=transactions)
    for _ in range(2):
        with open_mlflow_source(house.settings, str(mlruns)) as source:
            report = import_mlflow(house, source)
    assert (report.runs, report.points, report.unchanged) == (0, 0, 8)
    check_runs(house)
    check_models(house)


def test_a_later_import_brings_what_is_new(context: Context, bring: Bring, mlruns: Path) -> None:
    """A run that went on, a file that changed under the same size, a new run, a new version."""
    bring(mlruns)
    going = StoredRun(RUNNING, "busy-bee", "RUNNING", metrics={"loss": LOSSES[:5]}, files={"checkpoint": b"aaaa"})
    write_run(mlruns, going)
    second = bring(mlruns)
    assert (second.runs, second.points, second.files) == (1, 3, 1)
    going.status, going.files, going.tags = "FINISHED", {"checkpoint": b"bbbb"}, {"done": "yes"}
    write_run(mlruns, going)
    write_run(mlruns, StoredRun("f" * 32, "new", "FINISHED", params={"x": "1"}))
    third = bring(mlruns)
    assert (third.runs, third.points, third.files) == (2, 0, 1)
    run = get_run(context, RUNNING)
    assert (run.status, run.tags["done"]) == (RunStatus.SUCCESSFUL, "yes")
    assert content(context, run.artifact_location) == {"checkpoint": b"bbbb"}
    assert bring(mlruns).runs == 0


class Interruption(Exception):
    """What stops an import in these tests, wherever it is."""


def interrupted_after(stops: int, context: Context, mlruns: Path) -> bool:
    """Import until it has told of progress so often; tell whether it was stopped before its end."""
    told = 0

    def stop(_report: MlflowImport) -> None:
        nonlocal told
        told += 1
        if told > stops:
            raise Interruption

    try:
        with open_mlflow_source(context.settings, str(mlruns)) as source:
            import_mlflow(context, source, progress=stop)
    except Interruption:
        return True
    return False


def test_an_interrupted_import_goes_on(context: Context, mlruns: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped at every place that tells of progress, one after the other: all is there once, and nothing is left half."""
    monkeypatch.setattr("tournant.adapters.mlflow.files.POINTS_PER_PAGE", 5)
    stops = 0
    while interrupted_after(stops, context, mlruns):
        stops += 1
    assert stops > 5
    check_runs(context)
    check_models(context)


@pytest.mark.parametrize("restored", [False, True])
def test_what_is_brought_again_is_deleted_or_not_as_before(
    context: Context, bring: Bring, mlruns: Path, restored: bool
) -> None:
    """Also when that is interrupted, while it is not deleted for a moment; what was restored here stays restored."""
    bring(mlruns)
    if restored:
        restore_run(context, DELETED)
    write_run(
        mlruns, StoredRun(DELETED, "bad-crow", "FAILED", deleted=True, metrics={"loss": LOSSES}, files={"f": b"x"})
    )
    stops = 0
    while interrupted_after(stops, context, mlruns):
        stops += 1
    assert stops > 1
    run = get_run(context, DELETED)
    assert ((run.deleted_at is None) == restored, len(points(context, DELETED, "loss"))) == (True, len(LOSSES) + 1)
    assert content(context, run.artifact_location) == {"f": b"x"}


def test_an_import_killed_between_runs_brings_only_the_rest(context: Context, bring: Bring, mlruns: Path) -> None:
    """What was brought before it stopped is not brought again."""

    def stop(report: MlflowImport) -> None:
        if report.runs == 2:
            raise Interruption

    with open_mlflow_source(context.settings, str(mlruns)) as source, pytest.raises(Interruption):
        import_mlflow(context, source, progress=stop)
    rest = bring(mlruns)
    assert (rest.runs, rest.experiments) == (2, 1)
    assert rest.unchanged == 2


def test_what_was_made_here_stays(context: Context, bring: Bring, mlruns: Path) -> None:
    """A run, a model, an alias and a version of this house are left as they are, and named."""
    native = create_run(context, name="mine")
    write_run(mlruns, StoredRun(native.id, "theirs", "FINISHED", params={"depth": "9"}))
    bring(mlruns)
    assert get_run(context, native.id) == native
    set_alias(context, "churn", "champion", 1)
    mine = create_version(context, "churn", source="s3://bucket/5")
    (mlruns / "models" / "churn" / "aliases" / "champion").write_text("4")
    place = mlruns / "models" / "churn" / "version-5"
    place.mkdir()
    (place / "meta.yaml").write_text("{version: '5', source: 'hdfs://x', name: churn}")
    left = reasons(bring(mlruns))
    assert "was made here" in left[("run", native.id)]
    assert "was made here" in left[("model version", "churn@5")]
    assert "here it names version 1, and in the source it was moved to 4" in left[("alias", "churn@champion")]
    with context.transactions.begin(write=False) as uow:
        assert uow.get(ModelVersion, mine.id) == mine
        alias = uow.get(ModelAlias, "churn", "champion")
    assert alias and alias.version == 1


def test_a_protected_alias_waits_for_its_approval(context: Context, bring: Bring, mlruns: Path) -> None:
    """The move is asked for, and named; the model stays protected."""
    bring(mlruns)
    protect_aliases(context, "churn", ["champion"])
    (mlruns / "models" / "churn" / "aliases" / "champion").write_text("1")
    (mlruns / "models" / "churn" / "tags" / "owner").write_text("grace")
    for _ in range(2):
        left = reasons(bring(mlruns))
        assert "tournant models approve churn champion" in left[("alias", "churn@champion")]
    with context.transactions.begin(write=False) as uow:
        alias, model = uow.get(ModelAlias, "churn", "champion"), uow.get(RegisteredModel, "churn")
        assert uow.count(AliasMove, model="churn", state="waiting") == 1
    assert alias and alias.version == 3
    assert model and model.protected == ("champion",) and model.tags["owner"] == "grace"


def test_a_model_made_here_stays(context: Context, bring: Bring, mlruns: Path) -> None:
    """With its versions and aliases."""
    with context.transactions.begin() as uow:
        uow.add(RegisteredModel(name="churn", created_at=1.0))
    report = bring(mlruns)
    assert "was made here" in reasons(report)[("model", "churn")]
    assert (report.models, report.versions, report.aliases) == (0, 0, 0)


def test_what_was_deleted_here_stays_deleted(context: Context, bring: Bring, mlruns: Path) -> None:
    """Also when its source has more of it; then it is named. What was restored here stays restored."""
    bring(mlruns)
    delete_run(context, RUNNING)
    old = find_experiment(context, "old")
    assert old
    restore_experiment(context, old.number)
    assert bring(mlruns).runs == 0
    write_run(mlruns, StoredRun(RUNNING, "busy-bee", "FINISHED", metrics={"loss": LOSSES}))
    assert "it was deleted here" in reasons(bring(mlruns))[("run", RUNNING)]
    assert get_run(context, RUNNING).deleted_at is not None
    assert get_run(context, TRASHED).deleted_at is None


def test_what_is_damaged_is_named(context: Context, bring: Bring, mlruns: Path) -> None:
    """A run, a line of a metric, a tag that is no name: everything else comes."""
    (mlruns / "1" / DELETED / "meta.yaml").write_text("{nonsense")
    with (mlruns / "1" / RUNNING / "metrics" / "loss").open("a") as file:
        file.write("not a point\n")
    (mlruns / "1" / RUNNING / "tags").mkdir(exist_ok=True)
    (mlruns / "1" / RUNNING / "tags" / "big").write_text("x" * 100_001)
    report = bring(mlruns)
    left = reasons(report)
    assert "is damaged" in left[("run", DELETED)]
    assert left[("point", f"{RUNNING} loss, line 3")] == "'not a point\\n' is none"
    assert "100,000 are the most" in left[("tag", f"big of run {RUNNING}")]
    assert (report.runs, len(points(context, RUNNING, "loss"))) == (3, 2)


def test_files_that_cannot_be_had_come_later(context: Context, bring: Bring, tmp_path: Path, mlruns: Path) -> None:
    """The run comes without them and is named; once they can be had, an import brings them and nothing else."""
    url = f"sqlite:///{tmp_path / 'mlflow.db'}"
    engine = create_engine(url)
    write_database(engine, mlruns)
    run = StoredRun("9" * 32, "proxied", "FINISHED", metrics={"loss": LOSSES})
    with engine.begin() as connection:
        insert_run(connection, run, mlruns)
        uri = f"mlflow-artifacts:/1/{run.id}/artifacts"
        connection.execute(
            sa.text("UPDATE runs SET artifact_uri = :uri WHERE run_uuid = :id"), {"uri": uri, "id": run.id}
        )
    engine.dispose()
    first = bring(url)
    assert "--artifacts" in reasons(first)[("artifacts", f"run {run.id}")]
    assert first.runs == 5
    kept = tmp_path / "kept" / "1" / run.id / "artifacts"
    kept.mkdir(parents=True)
    (kept / "model.bin").write_bytes(b"weights")
    second = bring(url, artifacts=str(tmp_path / "kept"))
    assert (second.runs, second.points, second.files) == (1, 0, 1)
    assert content(context, get_run(context, run.id).artifact_location) == {"model.bin": b"weights"}
    assert bring(url, artifacts=str(tmp_path / "kept")).runs == 0


def test_a_folder_behind_a_server_has_its_files_elsewhere(context: Context, bring: Bring, mlruns: Path) -> None:
    """Each run's own folder is there, and empty; the server has put its files below `mlartifacts`."""
    place = mlruns / "1" / RUNNING
    (place / "artifacts").mkdir()
    said = f"file:///elsewhere/mlruns/1/{RUNNING}/artifacts"
    meta = (place / "meta.yaml").read_text()
    assert said in meta
    (place / "meta.yaml").write_text(meta.replace(said, f"mlflow-artifacts:/1/{RUNNING}/artifacts"))
    kept = mlruns.parent / "mlartifacts" / "1" / RUNNING / "artifacts" / "deep"
    kept.mkdir(parents=True)
    (kept / "text.txt").write_text("hello")
    bring(mlruns)
    assert content(context, get_run(context, RUNNING).artifact_location) == {"deep/text.txt": b"hello"}


def test_an_old_database_is_read(context: Context, bring: Bring, tmp_path: Path, mlruns: Path) -> None:
    """One whose MLflow knew of no datasets, aliases and logged models."""
    url = f"sqlite:///{tmp_path / 'mlflow.db'}"
    engine = create_engine(url)
    write_database(engine, mlruns)
    with engine.begin() as connection:
        for table in SINCE_MLFLOW_2:
            connection.execute(sa.text(f"DROP TABLE {table}"))
        for column in ("creation_time", "last_update_time", "workspace"):
            connection.execute(sa.text(f"ALTER TABLE experiments DROP COLUMN {column}"))
        for column in ("name", "deleted_time"):
            connection.execute(sa.text(f"ALTER TABLE runs DROP COLUMN {column}"))
    engine.dispose()
    report = bring(tmp_path / "mlflow.db")
    assert (report.runs, report.datasets, report.logged_models, report.aliases) == (4, 0, 0, 0)
    assert get_run(context, FINISHED).name == "smooth-owl"  # from its tag
    assert get_run(context, DELETED).deleted_at == context.clock.now()


def test_other_workspaces_are_named(bring: Bring, tmp_path: Path, mlruns: Path) -> None:
    """An experiment in one is left out."""
    url = f"sqlite:///{tmp_path / 'mlflow.db'}"
    engine = create_engine(url)
    write_database(engine, mlruns)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE experiments SET workspace = 'team-b' WHERE name = 'fraud'"))
    engine.dispose()
    report = bring(url)
    assert "workspace team-b" in reasons(report)[("experiment", "fraud")]
    assert report.runs == 1


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nothing", "there is nothing at"),
        ("empty", "is no mlruns folder"),
        ("text.txt", "is no SQLite database"),
        ("other.db", "is no database of MLflow's: it has no table experiments"),
        ("mysql://host/db", "does not read mysql databases"),
        ("ftp://host", "does not read ftp databases"),
    ],
)
def test_a_source_that_is_none_is_refused(
    context: Context, bring: Bring, tmp_path: Path, name: str, words: str
) -> None:
    """Each with what it is, or what it lacks."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.txt").write_text("hello")
    engine = create_engine(f"sqlite:///{tmp_path / 'other.db'}")
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE x (y INTEGER)"))
    engine.dispose()
    with pytest.raises((Invalid, NotFound)) as caught:
        bring(name if "://" in name else tmp_path / name)
    assert words in caught.value.message


def test_a_project_folder_with_mlruns_in_it_will_do(bring: Bring, mlruns: Path) -> None:
    """`tournant import mlflow .`."""
    assert bring(mlruns.parent).runs == len(RUNS)


def test_files_in_a_bucket_come_once_the_bucket_is_there(
    context: Context, tmp_path: Path, mlruns: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until then runs keep their address there."""
    url = f"sqlite:///{tmp_path / 'mlflow.db'}"
    engine = create_engine(url)
    write_database(engine, mlruns)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE runs SET artifact_uri = 's3://later/1/' || run_uuid || '/artifacts'"))
    engine.dispose()
    with s3_server("bucket") as environ:
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        settings = replace(context.settings, environ=environ)

        def bring() -> MlflowImport:
            with open_mlflow_source(settings, url) as source:
                return import_mlflow(context, source)

        first = reasons(bring())
        assert {name for noun, name in first if noun == "artifacts"} >= {f"run {run.id}" for run in RUNS}
        assert get_run(context, FINISHED).artifact_location == f"s3://later/1/{FINISHED}/artifacts"
        request = urllib.request.Request(f"{environ['AWS_ENDPOINT_URL']}/later", method="PUT")
        urllib.request.urlopen(request, timeout=30).close()
        bucket = open_bucket("s3://later", environ)
        for path, data in FILES.items():
            bucket.put(f"1/{FINISHED}/artifacts/{path}", data)
        second = bring()
    assert [left.name for left in second.left if left.noun == "artifacts"] == ["model version churn@4"]
    assert (second.runs, second.points, second.files) == (len(RUNS), 0, len(FILES))
    assert content(context, get_run(context, FINISHED).artifact_location) == FILES


def test_a_killed_import_goes_on(mlruns: Path, tmp_path: Path) -> None:
    """`kill -9` among many runs: the next import brings the rest, and every run is there once and whole."""
    ids = [f"{number:032x}" for number in range(1, 121)]
    for run_id in ids:
        write_run(
            mlruns, StoredRun(run_id, run_id[-3:], "FINISHED", metrics={"loss": LOSSES}, files={"f": run_id.encode()})
        )
    home = tmp_path / "killed"
    command = [sys.executable, "-m", "tournant.cli", "import", "mlflow", str(mlruns), "--home", str(home), "--json"]
    process = subprocess.Popen(command)
    wait_for_runs(home, 10)
    process.kill()
    assert process.wait(30) == -signal.SIGKILL
    report = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    assert 0 < report["runs"] < len(ids) and report["unchanged"] > 0
    context = open_context(Settings.load(home=home))
    for run_id in ids:
        run = get_run(context, run_id)
        assert len(points(context, run_id, "loss")) == len(LOSSES)
        assert content(context, run.artifact_location) == {"f": run_id.encode()}
    again = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    assert (again["runs"], again["points"], again["files"]) == (0, 0, 0)


def wait_for_runs(home: Path, count: int) -> None:
    deadline = time.monotonic() + 60
    while True:
        with (
            contextlib.suppress(sqlite3.OperationalError),
            contextlib.closing(sqlite3.connect(f"file:{home / 'metadata.db'}?mode=ro", uri=True)) as connection,
        ):
            if connection.execute("SELECT count(*) FROM run").fetchone()[0] >= count:
                return
        assert time.monotonic() < deadline, "the import did not begin"
        time.sleep(0.005)
