"""What a step tells of itself while it runs: lines of JSON in a file, `{"step": 3, "loss": 0.21}`."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

__all__ = ["Progress", "ProgressFile"]


class Progress(NamedTuple):
    """One report: numbers at a step of the training."""

    step: int
    values: Mapping[str, float]


class ProgressFile:
    """Follows such a file. What is no report is passed over: it is no reason to end a training."""

    def __init__(self, path: Path) -> None:
        """Follow `path`, which need not be there yet."""
        self.path = path
        self._read_bytes = 0
        self._lines = 0

    def begin(self) -> None:
        """Forget what is there: the step begins (again)."""
        self.path.unlink(missing_ok=True)
        self._read_bytes = self._lines = 0

    def take(self) -> list[Progress]:
        """Give the reports that have come since, of whole lines only."""
        try:
            with self.path.open("rb") as file:
                file.seek(self._read_bytes)
                content = file.read()
        except OSError:
            return []
        whole = content[: content.rfind(b"\n") + 1]
        self._read_bytes += len(whole)
        return [progress for line in whole.splitlines() if (progress := self._parse(line))]

    def _parse(self, line: bytes) -> Progress | None:
        try:
            told = json.loads(line)
            step = int(told.pop("step", self._lines))
        except (ValueError, AttributeError, TypeError, OverflowError):
            return None
        self._lines += 1
        numbers = {
            str(name): float(value)
            for name, value in told.items()
            if isinstance(value, int | float) and math.isfinite(value)
        }
        return Progress(step, numbers) if numbers else None
