"""MLflow's own database, of any of its versions: plain SELECTs of what tables and columns there are."""

from collections.abc import Iterator, Sequence

from tournant.adapters.mlflow.locations import Locations
from tournant.adapters.mlflow.registry_sql import read_models
from tournant.adapters.mlflow.tables import Row, Tables
from tournant.adapters.mlflow.values import (
    POINTS_PER_PAGE,
    RUN_NAME,
    elsewhere,
    number,
    pairs,
    read_dataset,
    read_logged_model_status,
    read_status,
    seconds,
    text,
)
from tournant.domain.logged_models import ModelMetric
from tournant.domain.tracking import DatasetInput, Metric, RunModel
from tournant.errors import Invalid
from tournant.ports import (
    MlflowFiles,
    Place,
    SourceExperiment,
    SourceLoggedModel,
    SourceModel,
    SourceRun,
    Unreadable,
)

__all__ = ["SqlSource"]

_PAGE = 500  # runs, or logged models
_INPUTS = (
    'SELECT i.destination_id AS run, i.input_uuid AS input, d.name AS name, d.digest AS digest, d.dataset_source_type AS "type", '
    "d.dataset_source AS source, d.dataset_schema AS described, d.dataset_profile AS profile "
    "FROM inputs i JOIN datasets d ON d.dataset_uuid = i.source_id "
    "WHERE i.destination_type = 'RUN' AND i.destination_id IN :ids"
)
_POINTS = 'SELECT {0}"key", value, "timestamp", step, is_nan FROM metrics WHERE run_uuid = :run'


class SqlSource:
    """Reads a database of MLflow's."""

    def __init__(self, tables: Tables, locations: Locations, *, address: str) -> None:
        """Read `tables`, and the files they speak of by `locations`; Invalid when they are not MLflow's."""
        missing = {"experiments", "runs", "params", "tags", "metrics"} - tables.names
        if missing:
            raise Invalid(f"{address} is no database of MLflow's: it has no table {', '.join(sorted(missing))}")
        self._tables = tables
        self.address = address
        self.files: MlflowFiles = locations

    def experiments(self) -> Iterator[SourceExperiment | Unreadable]:
        """Give all experiments, the deleted ones last."""
        rows = self._tables.all("experiments")
        rows.sort(key=lambda row: (row["lifecycle_stage"] == "deleted", row["experiment_id"]))
        tags = self._tables.by("experiment_tags", "experiment_id", [row["experiment_id"] for row in rows])
        for row in rows:
            yield elsewhere("experiment", row) or SourceExperiment(
                id=str(row["experiment_id"]),
                name=row["name"],
                created_at=seconds(row.get("creation_time")),
                updated_at=seconds(row.get("last_update_time")),
                deleted=row["lifecycle_stage"] == "deleted",
                tags=pairs(tags[row["experiment_id"]]),
            )
        if "trace_info" in self._tables.names:
            traces = self._tables.rows("SELECT count(*) AS traces FROM trace_info")[0]["traces"]
            if traces:
                yield Unreadable(noun="traces", name=f"{traces:,}", reason="tournant keeps no traces")

    def runs(self, experiment: str) -> Iterator[SourceRun | Unreadable]:
        """Give an experiment's runs, by id."""
        last = ""
        while True:
            where = f"experiment_id = :experiment AND run_uuid > :last ORDER BY run_uuid LIMIT {_PAGE}"
            rows = self._tables.all("runs", where, experiment=int(experiment), last=last)
            yield from self._whole_runs(rows)
            if len(rows) < _PAGE:
                return
            last = rows[-1]["run_uuid"]

    def _whole_runs(self, rows: Sequence[Row]) -> Iterator[SourceRun | Unreadable]:
        ids = [row["run_uuid"] for row in rows]
        params, tags, last = (self._tables.by(name, "run_uuid", ids) for name in ("params", "tags", "latest_metrics"))
        datasets, models = self._datasets(ids), self._models(ids)
        for row in rows:
            run = row["run_uuid"]
            measured = {each["key"]: _point(each) for each in last[run]}
            tagged = pairs(tags[run])
            name = row.get("name") or tagged.get(RUN_NAME, "")
            tagged.pop(RUN_NAME, None)
            try:
                status = read_status(row["status"])
            except Invalid as exc:
                yield Unreadable(noun="run", name=run, reason=exc.message)
                continue
            yield SourceRun(
                id=run,
                name=name,
                status=status,
                place=Place(uri=text(row["artifact_uri"]), run=run),
                started_at=seconds(row["start_time"]),
                ended_at=seconds(row["end_time"]),
                deleted=row["lifecycle_stage"] == "deleted",
                deleted_at=seconds(row.get("deleted_time")),
                actor=text(row.get("user_id")),
                params=pairs(params[run]),
                tags=tagged,
                measured=measured,
                datasets=tuple(datasets.get(run, ())),
                models=tuple(models.get(run, ())),
            )

    def _datasets(self, ids: list[str]) -> dict[str, list[DatasetInput]]:
        found: dict[str, list[DatasetInput]] = {}
        if not ids or not {"inputs", "datasets"} <= self._tables.names:
            return found
        rows = self._tables.rows(_INPUTS, ids=ids)
        tags = self._tables.by("input_tags", "input_uuid", [row["input"] for row in rows])
        for row in rows:
            described = {**row, "source_type": row["type"], "schema": row["described"]}
            dataset = read_dataset(row["run"], described, pairs(tags[row["input"]], key="name"))
            found.setdefault(dataset.run, []).append(dataset)
        return found

    def _models(self, ids: list[str]) -> dict[str, list[RunModel]]:
        found: dict[str, list[RunModel]] = {}
        for kind, role in (("RUN_INPUT", "input"), ("RUN_OUTPUT", "output")):
            for run, rows in self._tables.by("inputs", "source_id", ids, f"source_type = '{kind}'").items():
                found.setdefault(run, []).extend(
                    RunModel(run=run, model=row["destination_id"], role=role, step=int(row.get("step") or 0))
                    for row in rows
                )
        return found

    def complete(self, run: SourceRun) -> SourceRun:
        """Give the run: nothing is missing."""
        return run

    def points(self, run: SourceRun) -> Iterator[Sequence[Metric] | Unreadable]:
        """Give the points of a run's metrics."""
        for rows in self._pages(run.id):
            yield [_metric(run.id, row) for row in rows]

    def _pages(self, run: str) -> Iterator[Sequence[Row]]:
        """Give pages of points. A reader of SQLite keeps writers waiting: there each page is a reading of its own."""
        if not self._tables.sqlite:
            yield from self._tables.stream(_POINTS.format(""), POINTS_PER_PAGE, run=run)
            return
        statement = f"{_POINTS.format('rowid AS place, ')} AND rowid > :last ORDER BY rowid LIMIT {POINTS_PER_PAGE}"
        last = -1
        while rows := self._tables.rows(statement, run=run, last=last):
            yield rows
            last = rows[-1]["place"]

    def logged_models(self, experiment: str) -> Iterator[SourceLoggedModel | Unreadable]:
        """Give an experiment's logged models, by id."""
        last = ""
        while True:
            where = f"experiment_id = :experiment AND model_id > :last ORDER BY model_id LIMIT {_PAGE}"
            rows = self._tables.all("logged_models", where, experiment=int(experiment), last=last)
            ids = [row["model_id"] for row in rows]
            params, tags, metrics = (
                self._tables.by(f"logged_model_{name}", "model_id", ids) for name in ("params", "tags", "metrics")
            )
            for row in rows:
                model = row["model_id"]
                yield SourceLoggedModel(
                    id=model,
                    name=row["name"],
                    status=read_logged_model_status(row["status"]),
                    place=Place(uri=text(row["artifact_location"]), logged_model=model),
                    created_at=row["creation_timestamp_ms"] / 1000,
                    updated_at=row["last_updated_timestamp_ms"] / 1000,
                    model_type=text(row["model_type"]),
                    run=text(row["source_run_id"]),
                    deleted=row["lifecycle_stage"] == "deleted",
                    params=pairs(params[model], key="param_key", value="param_value"),
                    tags=pairs(tags[model], key="tag_key", value="tag_value"),
                    metrics=_last_metrics(metrics[model]),
                )
            if len(rows) < _PAGE:
                return
            last = rows[-1]["model_id"]

    def models(self) -> Iterator[SourceModel | Unreadable]:
        """Give the registered models."""
        return read_models(self._tables)


def _point(row: Row) -> tuple[float, ...]:
    return (row["step"], row["timestamp"] / 1000, number(row["value"], nan=row["is_nan"]))


def _metric(run: str, row: Row) -> Metric:
    step, time, value = _point(row)
    return Metric(run=run, key=row["key"], step=int(step), time=time, value=value)


def _last_metrics(rows: Sequence[Row]) -> tuple[ModelMetric, ...]:
    last: dict[tuple[str, str, str], ModelMetric] = {}
    for row in sorted(rows, key=lambda row: (row["metric_step"], row["metric_timestamp_ms"])):
        value = None if row["metric_value"] is None else number(row["metric_value"])
        metric = ModelMetric(
            model=row["model_id"],
            key=row["metric_name"],
            dataset_name=text(row["dataset_name"]),
            dataset_digest=text(row["dataset_digest"]),
            value=None if value != value else value,
            step=row["metric_step"],
            time=row["metric_timestamp_ms"] / 1000,
            run=text(row["run_id"]),
        )
        last[metric.key, metric.dataset_name, metric.dataset_digest] = metric
    return tuple(last.values())
