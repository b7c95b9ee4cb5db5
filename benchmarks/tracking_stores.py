"""Fills an experiment of each side with the same runs, straight into its database: only searching is measured."""

import random
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from tournant.adapters.sql.migrate import upgrade
from tournant.adapters.sql.transactions import SqlTransactions, create_engine
from tournant.domain.tracking import Metric, Run, RunStatus

START = 1_700_000_000.0
Described = tuple[str, dict[str, str], dict[str, float]]


def described(count: int) -> Iterator[Described]:
    """Give runs: an id, 10 params, 10 metrics."""
    chance = random.Random(0)
    for i in range(count):
        params = {f"p{k}": str(chance.randrange(10)) for k in range(10)}
        yield f"{i:032x}", params, {f"m{k}": chance.random() for k in range(10)}


def fill_ours(url: str, count: int) -> None:
    """Fill a database of tournant's."""
    engine = create_engine(url)
    upgrade(engine)
    with SqlTransactions(engine).begin() as uow:
        for i, (run_id, params, metrics) in enumerate(described(count)):
            run = Run(
                id=run_id,
                experiment="Default",
                name=f"run-{i}",
                status=RunStatus.SUCCESSFUL,
                started_at=START + i,
                params=params,
                artifact_location=f"mlflow-artifacts:/0/{run_id}/artifacts",
            )
            uow.runs.add(run)
            points = [Metric(run=run_id, key=key, step=0, time=START, value=value) for key, value in metrics.items()]
            uow.runs.log(run_id, metrics=points)
    engine.dispose()


def fill_peer(path: Path, count: int) -> None:
    """Fill the SQLite database of an MLflow server that has started once."""
    runs, params, latest, points, tags = [], [], [], [], []
    for i, (run_id, given, metrics) in enumerate(described(count)):
        started = round(1000 * (START + i))
        runs.append((run_id, f"run-{i}", "LOCAL", "", "", "u", "FINISHED", started, started, "", "active", "", 0))
        params += [(key, value, run_id) for key, value in given.items()]
        latest += [(key, value, 1, 0, 0, run_id) for key, value in metrics.items()]
        points += [(key, value, 1, 0, 0, run_id) for key, value in metrics.items()]
        tags.append(("mlflow.runName", f"run-{i}", run_id))
    with sqlite3.connect(path) as database:
        database.executemany(
            "INSERT INTO runs (run_uuid, name, source_type, source_name, entry_point_name, user_id, status, start_time, "
            "end_time, source_version, lifecycle_stage, artifact_uri, experiment_id) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)",
            runs,
        )
        database.executemany("INSERT INTO params (key, value, run_uuid) VALUES (?,?,?)", params)
        columns = "(key, value, timestamp, step, is_nan, run_uuid) VALUES (?,?,?,?,?,?)"
        database.executemany(f"INSERT INTO latest_metrics {columns}", latest)
        database.executemany(f"INSERT INTO metrics {columns}", points)
        database.executemany("INSERT INTO tags (key, value, run_uuid) VALUES (?,?,?)", tags)
