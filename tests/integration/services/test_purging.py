"""What was deleted goes for good, with its content, and nothing else does."""

import io
from dataclasses import replace

import pytest

from tournant.adapters.blobs.keeper import LocalKeeper
from tournant.adapters.tables import DuckDbTables
from tournant.domain.control import Event
from tournant.domain.logged_models import Artifact
from tournant.domain.registry import Conversion, ConversionStatus, ModelVersion, Signature
from tournant.domain.run_query import HistoryQuery
from tournant.domain.tracking import DatasetInput, Metric, Run, RunStatus, StepRun
from tournant.errors import NotFound
from tournant.services.artifacts import artifact_path, find_artifacts, put_artifact
from tournant.services.context import Context, DataContext
from tournant.services.experiments import delete_experiment, find_experiment, restore_experiment
from tournant.services.logged_models import create_logged_model, delete_logged_model
from tournant.services.purging import plan_purge, purge
from tournant.services.store_upkeep import collect_garbage
from tournant.services.tracking import create_run, delete_run, get_run, log, log_step, restore_run


@pytest.fixture
def data(context: Context) -> DataContext:
    """Give the part of the house that content is collected in."""
    return DataContext(
        settings=context.settings,
        transactions=context.transactions,
        blobs=context.blobs,
        clock=context.clock,
        actor="tester",
        keeper=LocalKeeper(context.blobs),  # type: ignore[arg-type]
        open_remote=context.open_remote,
        tables=DuckDbTables(),
        open_urls=lambda: None,  # type: ignore[arg-type,return-value]
    )


def busy_run(ctx: Context, name: str, content: bytes, experiment: str = "Default") -> Run:
    """A run with one of everything."""
    run = create_run(ctx, name=name, experiment=experiment, params={"depth": "3"}, tags={"a": "b"})
    log(ctx, run.id, metrics=[Metric(run=run.id, key="auc", step=1, time=1.0, value=0.5)])
    log_step(ctx, StepRun(run=run.id, step="s", position=0, status=RunStatus.RUNNING, cache_key="", started_at=0.0))
    with ctx.transactions.begin() as uow:
        uow.add(DatasetInput(run=run.id, name="d", digest="1"))
    put_artifact(ctx, f"{artifact_path(run.artifact_location)}/plots/a.bin", io.BytesIO(content))
    return run


def freed(data: DataContext, **options: object) -> int:
    return collect_garbage(data, grace_seconds=0, **{"dry_run": True, **options}).size_bytes  # type: ignore[arg-type]


def test_a_deleted_run_goes_with_all_it_had(context: Context, data: DataContext) -> None:
    """Its record, points, steps, inputs and artifacts; a dry run tells it before, and what others share stays."""
    shared, own = b"s" * 40_000, b"o" * 50_000
    gone, stays = busy_run(context, "gone", shared), busy_run(context, "stays", shared)
    put_artifact(context, f"{artifact_path(gone.artifact_location)}/own.bin", io.BytesIO(own))
    collect_garbage(data, dry_run=False, grace_seconds=0)
    delete_run(context, gone.id)
    plan = plan_purge(context, older_than_seconds=0)
    assert (plan.runs, plan.experiments, plan.kept) == ((gone.id,), (), ())
    assert freed(data) == 0
    told = freed(data, but=plan.takes)
    assert told > 0
    assert get_run(context, gone.id).metrics == {"auc": 0.5}  # nothing has happened yet
    assert purge(context, plan) == 2
    with pytest.raises(NotFound):
        get_run(context, gone.id)
    with context.transactions.begin(write=False) as uow:
        assert not uow.find(StepRun, run=gone.id)
        assert not uow.find(DatasetInput, run=gone.id)
        assert [found.folder for found in uow.find(Artifact)] == [f"{artifact_path(stays.artifact_location)}/plots"]
        assert [e.actor for e in uow.find(Event, kind="run.purged")] == [context.actor]
        assert len(uow.runs.history(HistoryQuery(runs=(stays.id,), key="auc"))) == 1
    assert freed(data, dry_run=False) == told
    artifact = find_artifacts(context, artifact_path(stays.artifact_location))[0]
    with context.blobs.open(artifact.digest) as file:
        assert file.read() == shared


def test_what_was_deleted_lately_can_still_be_restored(context: Context) -> None:
    """Also between the plan and its execution."""
    run = busy_run(context, "kept", b"x")
    delete_run(context, run.id)
    assert plan_purge(context, older_than_seconds=3600).runs == ()
    plan = plan_purge(context, older_than_seconds=0)
    restore_run(context, run.id)
    assert purge(context, plan) == 0
    assert get_run(context, run.id).params == {"depth": "3"}


def test_the_run_of_a_model_version_stays(context: Context) -> None:
    """It is the record of what may serve; so does its experiment."""
    run, other = busy_run(context, "maker", b"x", "lab"), busy_run(context, "other", b"y", "lab")
    version = ModelVersion(
        id="m@1",
        model="m",
        number=1,
        digest="",
        flavor="",
        entry="",
        predict="",
        signature=Signature(inputs=()),
        example=(),
        environment="",
        conversion=Conversion(status=ConversionStatus.SKIPPED),
        created_at=0.0,
        run=run.id,
    )
    with context.transactions.begin() as uow:
        uow.add(version)
    delete_experiment(context, run.experiment_number)
    plan = plan_purge(context, older_than_seconds=0)
    assert (plan.runs, plan.experiments) == ((other.id,), ())
    assert plan.kept == (f"run maker ({run.id}) made m@1", "experiment lab has runs that stay")
    purge(context, plan)
    restore_experiment(context, run.experiment_number)
    assert get_run(context, run.id).deleted_at is None


def test_an_experiment_goes_with_its_runs_and_models(context: Context) -> None:
    """Its name is free again; the experiment that is always there stays."""
    run = busy_run(context, "r", b"x", "lab")
    model = create_logged_model(context, run.experiment_number, name="m", run=run.id)
    put_artifact(context, f"{artifact_path(model.artifact_location)}/model.pkl", io.BytesIO(b"z"))
    alone = create_logged_model(context, 0, name="alone")
    delete_logged_model(context, alone.id)
    delete_experiment(context, run.experiment_number)
    plan = plan_purge(context, older_than_seconds=0)
    assert (plan.runs, plan.experiments) == ((run.id,), (run.experiment_number,))
    assert set(plan.logged_models) == {model.id, alone.id}
    assert purge(context, plan) == 2
    assert find_experiment(context, "lab") is None
    assert busy_run(context, "again", b"x", "lab").experiment_number != run.experiment_number
    assert plan_purge(context, older_than_seconds=0) == replace(
        plan, runs=(), experiments=(), logged_models=(), places=frozenset()
    )
