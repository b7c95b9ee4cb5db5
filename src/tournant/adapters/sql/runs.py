"""Runs with their params, tags and metrics, on SQLite and PostgreSQL."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgspec

from tournant.adapters.sql.driver import Driver
from tournant.adapters.sql.histories import read_history
from tournant.adapters.sql.run_search import find_numbers
from tournant.adapters.sql.run_tables import START_CHARACTERS
from tournant.domain.run_query import HistoryQuery, RunQuery
from tournant.domain.tracking import Metric, Run, RunStatus
from tournant.errors import Conflict, Invalid, NotFound

__all__ = ["SqlRuns"]

_HEAD = (
    "SELECT r.number, r.id, e.name, r.experiment, r.name, r.status, r.started_at, r.ended_at, r.actor, r.datasets, r.code, "
    'r."commit", r.environment, r.error, r.artifact_location, r.deleted_at '
    "FROM run r JOIN experiment e ON e.number = r.experiment"
)
_ADD = (
    "INSERT INTO run (id, experiment, name, status, started_at, ended_at, actor, datasets, code, "
    '"commit", environment, error, artifact_location, deleted_at) '
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING RETURNING number"
)
_UPDATE = (
    "UPDATE run SET name = ?, status = ?, started_at = ?, ended_at = ?, datasets = ?, code = ?, "
    '"commit" = ?, environment = ?, error = ?, artifact_location = ?, deleted_at = ? WHERE id = ?'
)
_ADD_PARAM = "INSERT INTO run_param (run, key, value, experiment, start) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
_SET_TAG = (
    "INSERT INTO run_tag (run, key, value, experiment, start) VALUES (?, ?, ?, ?, ?) "
    "ON CONFLICT (run, key) DO UPDATE SET value = excluded.value, start = excluded.start"
)
_ADD_POINT = (
    "INSERT INTO metric_point (run, key, step, time, value, nan) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
)
_SET_LAST = (
    "INSERT INTO run_metric (run, key, value, nan, step, time, experiment) VALUES (?, ?, ?, ?, ?, ?, ?) "
    "ON CONFLICT (run, key) DO UPDATE "
    "SET value = excluded.value, nan = excluded.nan, step = excluded.step, time = excluded.time "
    "WHERE (excluded.step, excluded.time, excluded.value) > (run_metric.step, run_metric.time, run_metric.value)"
)
_CHUNK = 5_000  # numbers in one list
_NAN = float("nan")


class SqlRuns:
    """The runs of one open transaction."""

    def __init__(self, driver: Driver) -> None:
        """Work in the driver's transaction."""
        self._driver = driver

    def get(self, run_id: str, *, lock: bool = False) -> Run | None:
        """Read one run; with `lock`, other writers of it wait for this transaction."""
        locking = " FOR UPDATE OF r" if lock and self._driver.postgres else ""
        row = self._driver.row(f"{_HEAD} WHERE r.id = ?{locking}", (run_id,))
        return None if row is None else self._whole([row])[0]

    def find(self, query: RunQuery) -> list[Run]:
        """Find runs in order."""
        numbers = find_numbers(self._driver, query)
        heads: dict[int, tuple[Any, ...]] = {}
        for chunk in _chunks(numbers):
            heads |= {row[0]: row for row in self._driver.rows(f"{_HEAD} WHERE r.number IN ({chunk})")}
        return self._whole([heads[number] for number in numbers])

    def add(self, run: Run) -> Run:
        """Insert a run with its params and tags; one without a name gets its number within the experiment for one."""
        begun = self._driver.rows(
            "UPDATE experiment SET runs = runs + 1 WHERE number = ? RETURNING runs, name", (run.experiment_number,)
        )
        if not begun:
            raise NotFound(f"there is no experiment {run.experiment_number}")
        name = run.name or f"{begun[0][1]}-{begun[0][0]}"
        added = self._driver.rows(_ADD, (run.id, run.experiment_number, name, *_facts(run)))
        if not added:
            raise Conflict(f"run {run.id} exists already")
        number = added[0][0]
        self._add_params(number, run.experiment_number, run.params)
        self._set_tags(number, run.experiment_number, run.tags)
        return replace(run, name=name, experiment=begun[0][1])

    def update(self, run: Run) -> None:
        """Write a run's own fields, those of `Run` but for the experiment, the params, metrics and tags."""
        status, started_at, ended_at, _, *rest = _facts(run)
        self._driver.change(_UPDATE, (run.name, status, started_at, ended_at, *rest, run.id))

    def log(
        self,
        run_id: str,
        *,
        metrics: Sequence[Metric] = (),
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str | None] | None = None,
    ) -> int:
        """Add to a run; a tag of None is taken away. The same point again changes nothing. Give how many points are new.

        NotFound without the run, Invalid when it is deleted, Conflict when a param has another value.
        """
        head = self._driver.row("SELECT number, experiment, name, deleted_at FROM run WHERE id = ?", (run_id,))
        if head is None:
            raise NotFound(f"there is no run {run_id!r}; list them: tournant runs list")
        number, experiment, name, deleted_at = head
        if deleted_at is not None:
            raise Invalid(
                f"The run {run_id} must be in the 'active' state, and it is deleted: tournant runs restore {run_id}"
            )
        if params:
            self._add_params(number, experiment, params)
            self._refuse_changes(number, name, params)
        if tags:
            removed = [(number, key) for key, value in tags.items() if value is None]
            if removed:
                self._driver.change_many("DELETE FROM run_tag WHERE run = ? AND key = ?", removed)
            self._set_tags(number, experiment, {key: value for key, value in tags.items() if value is not None})
        return self._add_metrics(number, experiment, metrics) if metrics else 0

    def history(self, query: HistoryQuery) -> list[Metric]:
        """Read points of a metric."""
        return read_history(self._driver, query)

    def remove(self, run_ids: Sequence[str]) -> int:
        """Remove runs with all that they recorded, for good; give how many there were."""
        marks = ", ".join("?" for _ in run_ids)
        numbers = [row[0] for row in self._driver.rows(f"SELECT number FROM run WHERE id IN ({marks})", tuple(run_ids))]
        for chunk in _chunks(numbers):
            for table in ("run_param", "run_tag", "run_metric", "metric_point"):
                self._driver.change(f"DELETE FROM {table} WHERE run IN ({chunk})")
            self._driver.change(f"DELETE FROM run WHERE number IN ({chunk})")
        return len(numbers)

    def delete_all(self, experiment: int, *, since: float | None, deleted_at: float | None) -> None:
        """Mark an experiment's runs whose `deleted_at` is `since` with another."""
        test, values = ("IS NULL", ()) if since is None else ("= ?", (since,))
        self._driver.change(
            f"UPDATE run SET deleted_at = ? WHERE experiment = ? AND deleted_at {test}",
            (deleted_at, experiment, *values),
        )

    def _whole(self, heads: Sequence[tuple[Any, ...]]) -> list[Run]:
        params: dict[int, dict[str, str]] = {head[0]: {} for head in heads}
        tags: dict[int, dict[str, str]] = {head[0]: {} for head in heads}
        metrics: dict[int, dict[str, float]] = {head[0]: {} for head in heads}
        measured: dict[int, dict[str, tuple[int, float]]] = {head[0]: {} for head in heads}
        for chunk in _chunks([head[0] for head in heads]):
            for table, found in (("run_param", params), ("run_tag", tags)):
                for number, key, value in self._driver.rows(
                    f"SELECT run, key, value FROM {table} WHERE run IN ({chunk})"
                ):
                    found[number][key] = value
            for number, key, value, nan, step, time in self._driver.rows(
                f"SELECT run, key, value, nan, step, time FROM run_metric WHERE run IN ({chunk})"
            ):
                metrics[number][key] = _NAN if nan else value
                measured[number][key] = (step, time)
        return [_run_of(head, params[head[0]], tags[head[0]], metrics[head[0]], measured[head[0]]) for head in heads]

    def _add_params(self, number: int, experiment: int, params: Mapping[str, str]) -> None:
        if params:
            self._driver.change_many(_ADD_PARAM, _text_rows(number, experiment, params))

    def _set_tags(self, number: int, experiment: int, tags: Mapping[str, str]) -> None:
        if tags:
            self._driver.change_many(_SET_TAG, _text_rows(number, experiment, tags))

    def _refuse_changes(self, number: int, name: str, params: Mapping[str, str]) -> None:
        rows = self._driver.rows("SELECT key, value FROM run_param WHERE run = ?", (number,))
        for key, value in rows:
            if params.get(key, value) != value:
                raise Conflict(
                    f"Changing param values is not allowed: param {key!r} of run {name} is {value!r} already; "
                    f"it cannot become {params[key]!r}"
                )

    def _add_metrics(self, number: int, experiment: int, metrics: Sequence[Metric]) -> int:
        points = [
            (number, m.key, m.step, m.time, m.value, 0)
            if m.value == m.value
            else (number, m.key, m.step, m.time, 0.0, 1)
            for m in metrics
        ]
        added = self._driver.change_many(_ADD_POINT, points)
        last: dict[str, tuple[Any, ...]] = {}
        for point in points:
            best = last.get(point[1])
            if best is None or point[2:5] > best[2:5]:
                last[point[1]] = point
        rows = [
            (number, key, value, nan, step, time, experiment)
            for _, key, step, time, value, nan in sorted(last.values())
        ]
        self._driver.change_many(_SET_LAST, rows)
        return added


def _facts(run: Run) -> tuple[Any, ...]:
    return (
        run.status.value,
        run.started_at,
        run.ended_at,
        run.actor,
        msgspec.json.encode(run.datasets).decode(),
        run.code,
        run.commit,
        run.environment,
        run.error,
        run.artifact_location,
        run.deleted_at,
    )


def _run_of(
    head: tuple[Any, ...],
    params: dict[str, str],
    tags: dict[str, str],
    metrics: dict[str, float],
    measured: dict[str, tuple[int, float]],
) -> Run:
    _, run_id, experiment, experiment_number, name, status, started_at, ended_at, actor, datasets, *rest = head
    code, commit, environment, error, artifact_location, deleted_at = rest
    return Run(
        id=run_id,
        experiment=experiment,
        experiment_number=experiment_number,
        name=name,
        status=RunStatus(status),
        started_at=started_at,
        ended_at=ended_at,
        actor=actor,
        params=params,
        metrics=metrics,
        measured=measured,
        tags=tags,
        datasets=() if datasets == "[]" else tuple(msgspec.json.decode(datasets)),
        code=code,
        commit=commit,
        environment=environment,
        error=error,
        artifact_location=artifact_location,
        deleted_at=deleted_at,
    )


def _text_rows(number: int, experiment: int, texts: Mapping[str, str]) -> list[tuple[Any, ...]]:
    return [(number, key, value, experiment, value[:START_CHARACTERS]) for key, value in sorted(texts.items())]


def _chunks(numbers: Sequence[int]) -> Iterable[str]:
    for start in range(0, len(numbers), _CHUNK):
        yield ", ".join(map(str, numbers[start : start + _CHUNK]))
