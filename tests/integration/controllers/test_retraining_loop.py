"""A whole retraining with real parts: frozen log, a real project run in a real job, the gate, a rollout begun."""

from dataclasses import replace
from pathlib import Path

import duckdb
import numpy as np
import pytest

from tournant.bootstrap.control_plane import open_context
from tournant.bootstrap.scoring import ServedScorer
from tournant.config import Settings
from tournant.controllers.retraining import RetrainingController
from tournant.domain.control import ClockState
from tournant.domain.deployment import (
    Deployment,
    DeploymentConfig,
    LabelConfig,
    MonitorConfig,
    Revision,
    RevisionState,
)
from tournant.domain.predictions import Label, Segment
from tournant.domain.registry import ModelVersion
from tournant.domain.retraining import Retraining, RetrainingPolicy, RetrainingState
from tournant.domain.rollout import Rollout
from tournant.domain.tracking import Run
from tournant.services.challengers import train_challenger
from tournant.services.context import Context
from tournant.services.pipelines import run_project
from tournant.services.retraining import list_retrainings, start_retraining

DAY = 86_400.0
START = 1_356_998_400.0  # 2013-01-01, where the log begins
NOW = START + 30 * DAY

PROJECT = """
project: shop
data: {visits: data/visits.parquet}
pipeline:
  train: {run: python train.py, deps: [data/visits.parquet], outs: [model], metrics: [metrics.json]}
model: {name: shop, path: model, flavor: onnx, entry: model.onnx}
tests: [{name: has_model, run: test -s $TOURNANT_MODEL/model.onnx}]
"""
TRAIN = """
import json
from pathlib import Path

import duckdb
import numpy as np
import onnx
from onnx import TensorProto, helper

rows = duckdb.sql("select x, late, event_time from 'data/visits.parquet' order by event_time").fetchnumpy()
recent = rows["event_time"] > rows["event_time"].max() - 20 * 86400
x, late = rows["x"][recent], rows["late"][recent]
a, b = 0.0, 0.0
for _ in range(400):
    error = 1 / (1 + np.exp(-(a * x + b))) - late
    a, b = a - 0.5 * (error * x).mean(), b - 0.5 * error.mean()
constants = [helper.make_tensor(name, TensorProto.FLOAT, [1], [v]) for name, v in (("a", a), ("b", b))]
graph = helper.make_graph(
    [
        helper.make_node("Mul", ["x", "a"], ["ax"]),
        helper.make_node("Add", ["ax", "b"], ["z"]),
        helper.make_node("Sigmoid", ["z"], ["p"]),
        helper.make_node("Sub", ["one", "p"], ["q"]),
        helper.make_node("Concat", ["q", "p"], ["probabilities"], axis=1),
    ],
    "logistic",
    [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 1])],
    [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, 2])],
    [*constants, helper.make_tensor("one", TensorProto.FLOAT, [1], [1.0])],
)
Path("model").mkdir(exist_ok=True)
onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), "model/model.onnx")
Path("model/input_example.json").write_text('[{"x": 0.5}]')
Path("metrics.json").write_text(json.dumps({"slope": a}))
"""


class Shop:
    """A project, its champion trained on a world that then turned round, and the log of the new one."""

    def __init__(self, ctx: Context, folder: Path) -> None:
        self.ctx = ctx
        self.folder = folder
        (folder / "data").mkdir(parents=True)
        (folder / "tournant.yaml").write_text(PROJECT)
        (folder / "train.py").write_text(TRAIN)
        self._write_base()
        result = run_project(ctx, folder)
        assert result.model_version
        self.champion = result.model_version
        self._deploy(result.run)
        self._log()

    def _write_base(self) -> None:
        x, late, times = world(START - 30 * DAY, seed=0, sign=1.0)
        with duckdb.connect() as connection:
            connection.register("base", {"x": x, "late": late, "event_time": times})
            connection.execute(f"copy base to '{self.folder / 'data/visits.parquet'}' (format parquet)")

    def _deploy(self, run: Run) -> None:
        config = DeploymentConfig(
            labels=LabelConfig(column="late", delay_seconds=DAY, maturity_seconds=DAY),
            monitors=MonitorConfig(metric="log_loss"),
            retraining=RetrainingPolicy(dataset="visits", gate_units=7),
        )
        with self.ctx.transactions.begin() as uow:
            uow.save(
                Deployment(name="shop", config=config, created_at=START, stable="shop/1", project=run.code),
                Revision(
                    id="shop/1",
                    deployment="shop",
                    number=1,
                    model_version=self.champion.id,
                    state=RevisionState.STABLE,
                    created_at=START,
                ),
            )

    def _log(self) -> None:
        x, late, times = world(START, seed=1, sign=-1.0)
        target = self.folder / "segment.parquet"
        with duckdb.connect() as connection:
            connection.register("log", {"x": x, "event_time": times})
            connection.execute(
                f"""copy (select 'p' || row_number() over () as prediction_id, '' as key, '' as entity, event_time,
                'shop/1' as revision, 'stable' as role, '' as rollout, 0::bigint as epoch, 0.5 as score,
                null::double[] as scores, null::varchar as error, 1.0 as latency_ms, false as fallback, x as "in.x"
                from log) to '{target}' (format parquet)"""
            )
        labels = [
            Label(deployment="shop", reference=f"p{i + 1}", value=float(y), event_time=t + DAY, received_at=t + DAY)
            for i, (y, t) in enumerate(zip(late, times, strict=True))
        ]
        segment = Segment(
            digest=self.ctx.blobs.put(target.read_bytes()),
            deployment="shop",
            gateway="g",
            start=START,
            end=NOW,
            rows=len(x),
            size_bytes=1,
            registered_at=NOW,
        )
        target.unlink()
        with self.ctx.transactions.begin() as uow:
            uow.save(segment, *labels)

    def settle(self) -> Retraining:
        """Tick as a lockstep replay does: until nothing changes and no job runs."""
        controller = RetrainingController(self.ctx)
        for _ in range(50):
            if controller.tick():
                continue
            newest = list_retrainings(self.ctx)[0]
            if not controller.busy():
                return newest
            self.ctx.executor.wait(newest.job, timeout_seconds=120)
        raise AssertionError("the controller does not become quiet")


def world(start: float, *, seed: int, sign: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Thirty days of visits, forty a day, where `late` follows `sign * x`."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=1200)
    late = (rng.random(1200) < 1 / (1 + np.exp(-2 * sign * x))).astype(float)
    return x, late, start + np.arange(1200) * (30 * DAY / 1200)


@pytest.fixture
def shop(settings: Settings, tmp_path: Path) -> Shop:
    ctx = open_context(settings)
    with ctx.transactions.begin() as uow:
        uow.save(ClockState(name="replay", now=NOW, barrier=1))
    return Shop(open_context(settings), tmp_path / "shop")


@pytest.mark.slow
def test_a_world_that_turned_round_is_learnt_and_rolled_out(shop: Shop) -> None:
    """The challenger learns from the frozen log in a job, beats the champion on later days, and its rollout begins."""
    start_retraining(shop.ctx, "shop", reason="the world turned round")
    done = shop.settle()
    assert done.state is RetrainingState.ROLLING_OUT, done.outcome
    gate = done.gate
    assert gate and gate.passed and gate.tests == {"has_model": True}
    assert gate.upper is not None and gate.upper < 0
    assert (gate.units, gate.champion_version, gate.challenger_version) == (7, "shop@1", "shop@2")
    with shop.ctx.transactions.begin(write=False) as uow:
        challenger, run, rollout = (
            uow.get(ModelVersion, "shop@2"),
            uow.runs.get(done.run),
            uow.get(Rollout, done.rollout),
        )
    assert challenger and challenger.tags["gate"] == "passed"
    assert challenger.datasets == (done.dataset_version,)
    assert challenger.created_at == NOW  # business time, in the job too
    assert run and run.metrics["slope"] < 0
    assert rollout and rollout.deployment == "shop"
    _train_again_after_a_kill(shop, done)


def _train_again_after_a_kill(shop: Shop, done: Retraining) -> None:
    """A job that died after registering and before judging: the next one takes the version that is there."""
    with shop.ctx.transactions.begin() as uow:
        uow.save(replace(done, gate=None, challenger="", run=""))
    again = train_challenger(shop.ctx, done.id, ServedScorer(shop.ctx))
    assert (again.challenger, again.gate, again.run) == (done.challenger, done.gate, done.run)
    with shop.ctx.transactions.begin(write=False) as uow:
        assert uow.count(ModelVersion, model="shop") == 2


@pytest.mark.slow
def test_a_project_that_no_longer_runs_fails_with_its_words(shop: Shop) -> None:
    """The outcome shows the step's own last line; nothing was registered."""
    (shop.folder / "train.py").write_text("raise SystemExit('no rows of this airport')")
    digest = shop.ctx.blobs.put_tree(shop.folder).digest
    with shop.ctx.transactions.begin() as uow:
        deployment = uow.get(Deployment, "shop")
        assert deployment
        uow.save(replace(deployment, project=digest))
    start_retraining(shop.ctx, "shop")
    failed = shop.settle()
    assert failed.state is RetrainingState.FAILED
    assert "no rows of this airport" in failed.outcome
    with shop.ctx.transactions.begin(write=False) as uow:
        assert uow.count(ModelVersion, model="shop") == 1
