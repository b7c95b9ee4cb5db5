"""Orders of runs as SQL, and the test for what comes after a run in one.

A run without the key that orders comes last, whichever the direction; a metric that is NaN before those, after every number.
"""

from collections.abc import Sequence

from tournant.adapters.sql.conditions import TABLES, Sql, value_sql
from tournant.adapters.sql.run_tables import START_CHARACTERS
from tournant.domain.run_query import Entity, Ordering, RunPlace
from tournant.errors import Invalid

__all__ = ["LACKING", "NAN", "TIES", "After", "order_terms"]

TIES = "r.started_at DESC, r.id"
NAN, LACKING = 1, 2  # ranks; what has a value has 0
_BEHIND = "(r.started_at < ? OR (r.started_at = ? AND r.id > ?))"  # of those with the same value


def order_terms(order: Sequence[Ordering]) -> tuple[str, list[str], list[object]]:
    """Give joins, ORDER BY terms and the joins' values."""
    joins, terms, keys = "", [], list[object]()
    for i, term in enumerate(order):
        if term.entity is not Entity.ATTRIBUTE:
            joins += f" LEFT JOIN {TABLES[term.entity]} o{i} ON o{i}.run = r.number AND o{i}.key = ?"
            keys.append(term.key)
        rank, value = _rank_and_value(term, i)
        terms += [rank, f"{value} {'DESC' if term.descending else 'ASC'}"]
    return joins, terms, keys


def _rank_and_value(term: Ordering, i: int) -> tuple[str, str]:
    if term.entity is Entity.ATTRIBUTE:
        column = value_sql(term.entity, term.key)
        return f"CASE WHEN {column} IS NULL THEN {LACKING} ELSE 0 END", column
    nan = f" WHEN o{i}.nan = 1 THEN {NAN}" if term.entity is Entity.METRIC else ""
    return f"CASE WHEN o{i}.run IS NULL THEN {LACKING}{nan} ELSE 0 END", f"o{i}.value"


class After:
    """The place of a run in an order by one key at most; gives tests, to be added by AND, that hold for what follows."""

    def __init__(self, place: RunPlace, order: Sequence[Ordering]) -> None:
        """Stand at a place; Invalid when the order has several keys."""
        if len(order) > 1:
            raise Invalid("a page follows a run only where runs are ordered by one key; use an offset", place="after")
        self._place = place
        self._order = order
        self._beyond = "<" if order and order[0].descending else ">"
        value = place.value
        self.rank = 0 if not order else LACKING if value is None else NAN if value != value else 0
        self._ties: list[object] = [place.start, place.start, place.id]

    def in_order(self) -> Sql:
        """Test by the terms of `order_terms`."""
        if not self._order:
            return f" AND {_BEHIND}", self._ties
        rank, column = _rank_and_value(self._order[0], 0)
        if self.rank:
            return f" AND ({rank} > {self.rank} OR ({rank} = {self.rank} AND {_BEHIND}))", self._ties
        value = self._place.value
        same = f"{column} {self._beyond} ? OR ({column} = ? AND {_BEHIND})"
        return f" AND ({rank} > 0 OR ({rank} = 0 AND ({same})))", [value, value, *self._ties]

    def in_starts(self, *, ascending: bool) -> Sql:
        """Test along an index of starts; the first test is what the index finds."""
        sign = ">" if ascending else "<"
        return f" AND r.started_at {sign}= ? AND (r.started_at {sign} ? OR r.id > ?)", self._ties

    def in_values(self, column: str, *, rank: int) -> Sql:
        """Test along an index of numbers, among the runs of a rank."""
        if rank != self.rank:  # those of a lower rank are passed already, those of a higher one all follow
            return "", []
        if rank:
            return f" AND {_BEHIND}", self._ties
        value = self._place.value
        test = f" AND {column} {self._beyond}= ? AND ({column} {self._beyond} ? OR {_BEHIND})"
        return test, [value, value, *self._ties]

    def in_texts(self, table: str) -> Sql:
        """Test along an index of texts' beginnings."""
        if self.rank:
            return "", []
        value, sign = str(self._place.value), self._beyond
        start = value[:START_CHARACTERS]
        same = f"{table}.start = ? AND ({table}.value {sign} ? OR ({table}.value = ? AND {_BEHIND}))"
        test = f" AND {table}.start {sign}= ? AND ({table}.start {sign} ? OR ({same}))"
        return test, [start, start, start, value, value, *self._ties]
