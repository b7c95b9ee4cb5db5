"""What params a sweep tries: every combination of some values, or so many at random."""

import itertools
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["Choices", "Listed", "Range", "draw_random", "make_grid"]

Space = Mapping[str, "Choices | Range"]


@dataclass(frozen=True, slots=True)
class Choices:
    """Some values."""

    values: tuple[object, ...]

    def draw(self, rng: random.Random) -> object:
        """Give one of them."""
        return rng.choice(self.values)


@dataclass(frozen=True, slots=True)
class Range:
    """All numbers from `low` to `high`, both included; whole ones if both are; by their logarithm if `log`."""

    low: float
    high: float
    log: bool = False

    @property
    def whole(self) -> bool:
        """Whether only whole numbers are meant."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def draw(self, rng: random.Random) -> float:
        """Give a number of it."""
        if self.log:
            drawn = math.exp(rng.uniform(math.log(self.low), math.log(self.high)))
            return min(max(round(drawn), int(self.low)), int(self.high)) if self.whole else drawn
        return rng.randint(int(self.low), int(self.high)) if self.whole else rng.uniform(self.low, self.high)


class Listed:
    """Samples a list, in its order, whatever comes of it."""

    def __init__(self, combinations: Sequence[Mapping[str, object]]) -> None:
        """Give these, one after another."""
        self._combinations = [dict(params) for params in combinations]
        self._next = 0
        self.count = len(combinations)

    def ask(self) -> tuple[int, dict[str, object]] | None:
        """Give the next trial's number and params; None at the end."""
        if self._next == self.count:
            return None
        self._next += 1
        return self._next - 1, self._combinations[self._next - 1]

    def tell(self, number: int, value: float | None, *, pruned: bool = False) -> None:
        """Take no notice of how a trial went."""


def make_grid(space: Space) -> list[dict[str, object]]:
    """Give every combination, the last param changing fastest; ValueError for a range of fractions, which has no end of them.

    >>> make_grid({"depth": Range(2, 3), "kind": Choices(("a", "b"))})[1]
    {'depth': 2, 'kind': 'b'}
    """
    return [dict(zip(space, values, strict=True)) for values in itertools.product(*map(_every, space.values()))]


def draw_random(space: Space, count: int, *, seed: int) -> list[dict[str, object]]:
    """Draw so many combinations; the same seed draws the same ones.

    >>> draw_random({"depth": Range(2, 9)}, 2, seed=1) == draw_random({"depth": Range(2, 9)}, 2, seed=1)
    True
    """
    rng = random.Random(seed)  # noqa: S311 - no secret
    return [{name: choice.draw(rng) for name, choice in space.items()} for _ in range(count)]


def _every(choice: Choices | Range) -> Sequence[object]:
    if isinstance(choice, Choices):
        return choice.values
    if not choice.whole:
        raise ValueError(f"{choice.low:g}..{choice.high:g} has no end of numbers")
    return range(int(choice.low), int(choice.high) + 1)
