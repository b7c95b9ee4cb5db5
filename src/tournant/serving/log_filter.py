"""What of a prediction goes into the log: a sample, and inputs without what nobody may read there."""

import hashlib
from typing import Any

from tournant.domain.registry import Scalar
from tournant.messages.routing import LogRoute
from tournant.serving.schema import Row, RowSchema
from tournant.serving.spool import SpoolHeader, header_of

__all__ = ["LogFilter"]

_RANGE = 2**32


class LogFilter:
    """Follows one deployment's settings. A prediction is logged with all of its rows, stable's and shadows', or with none."""

    def __init__(self, deployment: str, route: LogRoute, schema: RowSchema, entity: str = "") -> None:
        """Filter rows of `schema`; `entity` is the column that the split goes by, if one does."""
        self.header: SpoolHeader = header_of(deployment, schema, drop=route.drop, hashed=route.hash)
        self._limit = round(route.sample * _RANGE)
        self._key = bytes.fromhex(route.key)
        hashed = frozenset(route.hash)
        kept = [name for name in schema.columns if name not in route.drop]
        self._plain = not (set(route.drop) | hashed) & set(schema.columns)
        self._fields = [(name, schema.field(name), name in hashed) for name in kept]
        self._hides_entity = entity in route.drop or entity in hashed

    def keeps(self, prediction_id: str) -> bool:
        """Tell whether a prediction is of the sample."""
        return self._limit == _RANGE or int(prediction_id[:8], 16) < self._limit

    def inputs(self, row: Row) -> Any:
        """Give what is written of a row."""
        if self._plain:
            return row
        values = ((name, getattr(row, field), hashed) for name, field, hashed in self._fields)
        return {name: self._digest(value) if hashed else value for name, value, hashed in values}

    def entity(self, entity: str | None) -> str | None:
        """Give what is written of whom a row is about; of a column that is left out, its digest."""
        return self._digest(entity) if self._hides_entity else entity

    def _digest(self, value: Scalar) -> str | None:
        if value is None:
            return None
        return hashlib.blake2b(str(value).encode(errors="surrogatepass"), key=self._key, digest_size=16).hexdigest()
