"""Finds runs: which of them, in which order.

Its time must not grow with the runs an experiment has, so it never sorts all of them when it can help it. A condition that
few runs meet drives the search: those few are read and sorted. Otherwise runs are walked in the order asked for, along an
index, until enough have passed; what orders by a metric walks numbers first, then NaN, then the runs without it, and what
orders by a param or tag its texts first.
"""

from collections.abc import Iterator, Sequence

from tournant.adapters.sql.conditions import TABLES, Sql, condition_sql, seen_sql, value_sql
from tournant.adapters.sql.driver import Driver
from tournant.adapters.sql.run_tables import START_CHARACTERS
from tournant.domain.run_query import All, Comparison, Condition, Entity, Ordering, RunQuery

__all__ = ["find_numbers"]

_FEW = 2_000  # runs that are cheaper to sort than to walk past
_MOST_WALKS = 30  # experiments walked side by side
_TIES = "r.started_at DESC, r.id"
_RANGES = ("=", "<", "<=", ">", ">=")


def find_numbers(driver: Driver, query: RunQuery) -> list[int]:
    """Give the numbers of the runs that a query finds, in order."""
    experiments = query.experiments
    if experiments is None:
        experiments = tuple(row[0] for row in driver.rows("SELECT number FROM experiment"))
    if not experiments or query.limit <= 0:
        return []
    return _Search(driver, query, tuple(dict.fromkeys(experiments))).run()


class _Search:
    def __init__(self, driver: Driver, query: RunQuery, experiments: tuple[int, ...]) -> None:
        self._driver = driver
        self._query = query
        self._experiments = experiments
        self._list = ", ".join(map(str, experiments))  # numbers out of the database, or checked to be some
        self._conjuncts = list(_conjuncts(query.condition))
        condition, values = condition_sql(query.condition, postgres=driver.postgres)
        self._where: Sql = (f"{seen_sql(query.view)} AND {condition}", values)
        if query.after is not None:  # the first test is what an index finds
            start, run_id = query.after
            later = " AND r.started_at <= ? AND (r.started_at < ? OR r.id > ?)"
            self._where = (self._where[0] + later, [*values, start, start, run_id])

    def run(self) -> list[int]:
        query = self._query
        driving = self._selective()
        if driving:
            return self._sorted(*driving)
        first = query.order[0] if query.order else None
        walkable = len(self._experiments) == 1 or (len(query.order) <= 1 and len(self._experiments) <= _MOST_WALKS)
        if query.experiments is None and not query.order:
            return self._page(self._walk_starts(query.offset + query.limit))
        if walkable and (first is None or (first.entity, first.key) == (Entity.ATTRIBUTE, "start_time")):
            return self._page(self._walk_starts(query.offset + query.limit))
        if walkable and first is not None and first.entity is Entity.METRIC:
            return self._page(self._walk_metric(first, query.offset + query.limit))
        if walkable and first is not None and first.entity in (Entity.PARAM, Entity.TAG):
            return self._page(self._walk_texts(first, query.offset + query.limit))
        return self._sorted("run r", f"r.experiment IN ({self._list})", [])

    def _page(self, numbers: list[int]) -> list[int]:
        return numbers[self._query.offset : self._query.offset + self._query.limit]

    def _selective(self) -> tuple[str, str, list[object]] | None:
        """Give what drives the search: the condition that the fewest runs meet, if those are few."""
        best: tuple[int, str, str, list[object]] | None = None
        for comparison in self._conjuncts:
            drive = self._drive(comparison)
            if drive is None:
                continue
            source, test, values = drive
            inner = f"SELECT 1 FROM {source} WHERE {test} LIMIT {_FEW + 1}"
            count = self._driver.rows(f"SELECT count(*) FROM ({inner}) AS few", values)[0][0]
            if count <= _FEW and (best is None or count < best[0]):
                best = (count, source, test, values)
        if best is None:
            return None
        _, source, test, values = best
        if source == "run r":
            return source, test, values
        return f"{source} CROSS JOIN run r", f"{test} AND r.number = x.run", values  # in SQLite, in this order

    def _drive(self, comparison: Comparison) -> tuple[str, str, list[object]] | None:
        entity, key, operator, value = comparison.entity, comparison.key, comparison.operator, comparison.value
        if entity is Entity.ATTRIBUTE and key == "run_id" and operator in ("=", "IN"):
            ids = value if isinstance(value, tuple) else (value,)
            test = f"r.id IN ({', '.join('?' * len(ids))}) AND +r.experiment IN ({self._list})"
            return "run r", test, list(ids)
        if entity is Entity.ATTRIBUTE and key == "run_name" and operator == "=":
            return "run r", f"r.experiment IN ({self._list}) AND r.name = ?", [value]
        if entity in (Entity.PARAM, Entity.TAG) and operator == "=":
            test = f"x.experiment IN ({self._list}) AND x.key = ? AND x.start = ? AND x.value = ?"
            return f"{TABLES[entity]} x", test, [key, str(value)[:START_CHARACTERS], value]
        if entity is Entity.METRIC and operator in _RANGES:
            test = f"x.experiment IN ({self._list}) AND x.key = ? AND x.nan = 0 AND x.value {operator} ?"
            return "run_metric x", test, [key, value]
        return None

    def _sorted(self, source: str, test: str, values: list[object]) -> list[int]:
        joins, terms, keys = _terms(self._query.order)
        where, tested = self._where
        statement = (
            f"SELECT r.number FROM {source}{joins} WHERE {test} AND {where} "
            f"ORDER BY {', '.join((*terms, _TIES))} LIMIT {self._query.limit} OFFSET {self._query.offset}"
        )
        return [row[0] for row in self._driver.rows(statement, [*keys, *values, *tested])]

    def _walk_starts(self, needed: int) -> list[int]:
        joins, terms, keys = _terms(self._query.order[1:])
        ascending = bool(self._query.order) and not self._query.order[0].descending
        start = "r.started_at" if ascending else "r.started_at DESC"
        order = ", ".join((start, *terms, "r.id"))
        where, tested = self._where
        places = [f"r.experiment = {experiment}" for experiment in self._experiments]
        walks = [
            (
                f"SELECT r.number AS n, r.started_at AS s, r.id AS i FROM run r{joins} "
                f"WHERE {place} AND {where} ORDER BY {order} LIMIT {needed}",
                [*keys, *tested],
            )
            for place in (places if self._query.experiments is not None else ["1 = 1"])
        ]
        return self._merge(walks, "s, i" if ascending else "s DESC, i", needed)

    def _walk_metric(self, order: Ordering, needed: int) -> list[int]:
        same = [c for c in self._conjuncts if c.entity is Entity.METRIC and c.key == order.key]
        found = self._walk_values(order, [c for c in same if c.operator in _RANGES], needed, nan=0)
        if len(found) < needed and all(c.operator == "!=" for c in same):
            found += self._walk_values(order, [], needed - len(found), nan=1)
        if len(found) < needed and not same:
            found += self._walk_without(order, needed - len(found))
        return found

    def _walk_values(self, order: Ordering, bounds: Sequence[Comparison], needed: int, *, nan: int) -> list[int]:
        joins, terms, keys = _terms(self._query.order[1:])
        where, tested = self._where
        direction = "DESC" if order.descending else "ASC"
        limits = "".join(f" AND m.value {bound.operator} ?" for bound in bounds)
        values = [*keys, order.key, *(bound.value for bound in bounds), *tested]
        walks: list[Sql] = [
            (
                f"SELECT r.number AS n, m.value AS v, r.started_at AS s, r.id AS i FROM run_metric m CROSS JOIN run r{joins} "
                f"WHERE m.experiment = {experiment} AND m.key = ? AND m.nan = {nan}{limits} AND r.number = m.run AND {where} "
                f"ORDER BY {', '.join((f'm.value {direction}', *terms, _TIES))} LIMIT {needed}",
                values,
            )
            for experiment in self._experiments
        ]
        return self._merge(walks, f"v {direction}, s DESC, i", needed)

    def _walk_texts(self, order: Ordering, needed: int) -> list[int]:
        joins, terms, keys = _terms(self._query.order[1:])
        where, tested = self._where
        direction = "DESC" if order.descending else "ASC"
        walks: list[Sql] = [  # along the index, which has the beginnings of texts
            (
                f"SELECT r.number AS n, t.start AS b, t.value AS v, r.started_at AS s, r.id AS i "
                f"FROM {TABLES[order.entity]} t CROSS JOIN run r{joins} "
                f"WHERE t.experiment = {experiment} AND t.key = ? AND r.number = t.run AND {where} "
                f"ORDER BY {', '.join((f't.start {direction}, t.value {direction}', *terms, _TIES))} LIMIT {needed}",
                [*keys, order.key, *tested],
            )
            for experiment in self._experiments
        ]
        found = self._merge(walks, f"b {direction}, v {direction}, s DESC, i", needed)
        same = [c for c in self._conjuncts if (c.entity, c.key) == (order.entity, order.key)]
        if len(found) < needed and all(c.operator == "IS NULL" for c in same):
            found += self._walk_without(order, needed - len(found))
        return found

    def _walk_without(self, order: Ordering, needed: int) -> list[int]:
        joins, terms, keys = _terms(self._query.order[1:])
        where, tested = self._where
        lacking = f"NOT EXISTS (SELECT 1 FROM {TABLES[order.entity]} m WHERE m.run = r.number AND m.key = ?)"
        walks: list[Sql] = [
            (
                f"SELECT r.number AS n, r.started_at AS s, r.id AS i FROM run r{joins} "
                f"WHERE r.experiment = {experiment} AND {where} AND {lacking} "
                f"ORDER BY {', '.join((*terms, _TIES))} LIMIT {needed}",
                [*keys, *tested, order.key],
            )
            for experiment in self._experiments
        ]
        return self._merge(walks, "s DESC, i", needed)

    def _merge(self, walks: list[Sql], order: str, needed: int) -> list[int]:
        """Run one walk an experiment, and put what they find in one order."""
        if len(walks) == 1:
            return [row[0] for row in self._driver.rows(*walks[0])]
        united = " UNION ALL ".join(f"SELECT * FROM ({sql}) AS w{i}" for i, (sql, _) in enumerate(walks))
        statement = f"SELECT n FROM ({united}) AS walks ORDER BY {order} LIMIT {needed}"
        return [row[0] for row in self._driver.rows(statement, [value for _, values in walks for value in values])]


def _conjuncts(condition: Condition) -> Iterator[Comparison]:
    if isinstance(condition, Comparison):
        yield condition
    elif isinstance(condition, All):
        for part in condition.parts:
            yield from _conjuncts(part)


def _terms(order: Sequence[Ordering]) -> tuple[str, list[str], list[object]]:
    """Give joins, ORDER BY terms and the joins' values: numbers before NaN, NaN before nothing."""
    joins, terms, keys = "", [], list[object]()
    for i, term in enumerate(order):
        direction = "DESC" if term.descending else "ASC"
        if term.entity is Entity.ATTRIBUTE:
            column = value_sql(term.entity, term.key)
            terms += [f"CASE WHEN {column} IS NULL THEN 1 ELSE 0 END", f"{column} {direction}"]
            continue
        joins += f" LEFT JOIN {TABLES[term.entity]} o{i} ON o{i}.run = r.number AND o{i}.key = ?"
        keys.append(term.key)
        nan = f" WHEN o{i}.nan = 1 THEN 1" if term.entity is Entity.METRIC else ""
        terms += [f"CASE WHEN o{i}.run IS NULL THEN 2{nan} ELSE 0 END", f"o{i}.value {direction}"]
    return joins, terms, keys
