"""Conditions over runs as SQL. `r` is the run's row, as in `FROM run r`."""

from tournant.domain.run_query import STATUS_NAMES, All, Any, Comparison, Condition, Entity, View
from tournant.domain.tracking import RunStatus

__all__ = ["Sql", "condition_sql", "seen_sql", "value_sql"]

Sql = tuple[str, list[object]]  # with ? for each value

_STATUS = "CASE r.status " + " ".join(f"WHEN '{s.value}' THEN '{name}'" for s, name in STATUS_NAMES.items()) + " END"
_ATTRIBUTES = {
    "run_id": "r.id",
    "run_name": "r.name",
    "status": _STATUS,
    "user_id": "r.actor",
    "artifact_uri": "r.artifact_location",
    "start_time": "r.started_at",
    "end_time": "r.ended_at",
    "duration": "(r.ended_at - r.started_at)",
}
TABLES = {Entity.METRIC: "run_metric", Entity.PARAM: "run_param", Entity.TAG: "run_tag"}


def condition_sql(condition: Condition, *, postgres: bool) -> Sql:
    """Write a condition as SQL."""
    match condition:
        case All(parts) if not parts:
            return "1 = 1", []
        case All(parts) | Any(parts):
            written = [condition_sql(part, postgres=postgres) for part in parts]
            word = " AND " if isinstance(condition, All) else " OR "
            return "(" + word.join(sql for sql, _ in written) + ")", [
                value for _, values in written for value in values
            ]
        case Comparison():
            return _comparison_sql(condition, postgres=postgres)


def value_sql(entity: Entity, key: str) -> str:
    """Give the expression of an attribute."""
    assert entity is Entity.ATTRIBUTE
    return _ATTRIBUTES[key]


def seen_sql(view: View) -> str:
    """Say which runs are seen."""
    return {View.ACTIVE: "r.deleted_at IS NULL", View.DELETED: "r.deleted_at IS NOT NULL", View.ALL: "1 = 1"}[view]


def _comparison_sql(comparison: Comparison, *, postgres: bool) -> Sql:
    key, operator = comparison.key, comparison.operator
    if comparison.entity is Entity.ATTRIBUTE:
        return _operator_sql(_ATTRIBUTES[key], operator, _as_stored(key, comparison.value), postgres=postgres)
    if comparison.entity is Entity.DATASET:
        test, values = _operator_sql(f"d.{key}", operator, comparison.value, postgres=postgres)
        return f"EXISTS (SELECT 1 FROM dataset_input d WHERE d.run = r.id AND {test})", values
    table = TABLES[comparison.entity]
    inside = f"EXISTS (SELECT 1 FROM {table} x WHERE x.run = r.number AND x.key = ?"
    if operator in ("IS NULL", "IS NOT NULL"):
        return ("NOT " if operator == "IS NULL" else "") + inside + ")", [key]
    test, values = _operator_sql("x.value", operator, comparison.value, postgres=postgres)
    if comparison.entity is Entity.METRIC:  # a NaN is unequal to every number, and nothing else
        test = f"({test} OR x.nan = 1)" if operator == "!=" else f"{test} AND x.nan = 0"
    return f"{inside} AND {test})", [key, *values]


def _as_stored(key: str, value: object) -> object:
    """Give an attribute's value as its column has it: times in seconds, a status as MLflow calls it."""
    if key in ("start_time", "end_time"):
        assert isinstance(value, int | float)
        return value / 1000
    if key == "status" and isinstance(value, str):
        return _status_name(value)
    if key == "status" and isinstance(value, tuple):
        return tuple(_status_name(each) for each in value)
    return value


def _status_name(value: str) -> str:
    return STATUS_NAMES[RunStatus(value)] if value in tuple(RunStatus) else value


def _operator_sql(column: str, operator: str, value: object, *, postgres: bool) -> Sql:
    if operator in ("IN", "NOT IN"):
        assert isinstance(value, tuple)
        return f"{column} {operator} ({', '.join('?' * len(value))})", list(value)
    if operator not in ("LIKE", "ILIKE"):
        return f"{column} {operator} ?", [value]
    if postgres:
        return f"{column} {operator} ? ESCAPE ''", [value]
    if operator == "ILIKE":  # SQLite's LIKE ignores case, in ASCII
        return f"{column} LIKE ?", [value]
    return f"{column} GLOB ?", [_as_glob(str(value))]


def _as_glob(pattern: str) -> str:
    """Write a LIKE pattern for SQLite's GLOB, which minds case.

    >>> _as_glob("a%b_c*")
    'a*b?c[*]'
    """
    return "".join({"%": "*", "_": "?"}.get(c, f"[{c}]" if c in "*?[" else c) for c in pattern)
