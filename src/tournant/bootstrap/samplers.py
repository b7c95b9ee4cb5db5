"""Chooses the sampler of a sweep by its name."""

from collections.abc import Mapping

from tournant.domain.sweep import Choices, Listed, Range, draw_random, make_grid
from tournant.errors import Invalid
from tournant.ports import Sampler

__all__ = ["SAMPLERS", "open_sampler"]

SAMPLERS = ("grid", "random", "tpe")
TRIALS = 20  # where nobody says how many


def open_sampler(
    name: str, space: Mapping[str, Choices | Range], *, trials: int | None, maximize: bool, seed: int
) -> Sampler:
    """Give a sampler of `space`; Invalid if there is nothing to sample, or too much to try all of it."""
    if not space:
        raise Invalid("there is nothing to sweep over: name params and values, as --over depth=2,3,4", place="over")
    if name == "grid":
        try:
            grid = make_grid(space)
        except ValueError as exc:
            raise Invalid(
                f"{exc}: name values, or draw some of them: --sampler random --trials 20", place="over"
            ) from exc
        return Listed(grid[:trials])
    count = trials or TRIALS
    if name == "random":
        return Listed(draw_random(space, count, seed=seed))
    if name != "tpe":
        raise Invalid(f"there is no sampler {name!r} (there is: {', '.join(SAMPLERS)})", place="sampler")
    from tournant.adapters.samplers import TpeSampler

    return TpeSampler(space, count, maximize=maximize, seed=seed)
