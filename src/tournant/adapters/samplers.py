"""Optuna's samplers: what a sweep tries next follows from how it went so far. Needs the extra `optuna`."""

import logging
from collections.abc import Mapping
from typing import Any

from tournant.domain.sweep import Choices, Range
from tournant.errors import Invalid

__all__ = ["TpeSampler"]


class TpeSampler:
    """Draws by a tree-structured Parzen estimator (Bergstra et al. 2011), `count` times. Trials may run at the same time.

    Values that Optuna cannot compare (lists, mappings) stand for themselves by their place among the choices.
    """

    def __init__(self, space: Mapping[str, Choices | Range], count: int, *, maximize: bool, seed: int) -> None:
        """Draw from `space`; Invalid without the extra."""
        try:
            import optuna
        except ImportError as exc:
            raise Invalid(
                f"the sampler tpe needs the extra optuna ({exc.name} is missing): pip install 'tournant[optuna]'",
                place="sampler",
            ) from exc
        optuna.logging.set_verbosity(logging.WARNING)
        sampler = optuna.samplers.TPESampler(seed=seed, constant_liar=True)
        self._states = optuna.trial.TrialState
        self._study = optuna.create_study(direction="maximize" if maximize else "minimize", sampler=sampler)
        self._space = space
        self._left = count
        self._asked: dict[int, Any] = {}
        self.count = count

    def ask(self) -> tuple[int, dict[str, object]] | None:
        """Give the next trial's number and params; None when there were enough."""
        if not self._left:
            return None
        self._left -= 1
        trial = self._study.ask()
        self._asked[trial.number] = trial
        return trial.number, {name: _suggest(trial, name, choice) for name, choice in self._space.items()}

    def tell(self, number: int, value: float | None, *, pruned: bool = False) -> None:
        """Say how a trial went; None: it has no value, since it failed or was stopped."""
        trial = self._asked.pop(number)
        if value is None:
            self._study.tell(trial, state=self._states.PRUNED if pruned else self._states.FAIL)
        else:
            self._study.tell(trial, value)


def _suggest(trial: Any, name: str, choice: Choices | Range) -> object:
    if isinstance(choice, Choices):
        return choice.values[trial.suggest_categorical(name, list(range(len(choice.values))))]
    if choice.whole:
        return trial.suggest_int(name, int(choice.low), int(choice.high), log=choice.log)
    return trial.suggest_float(name, choice.low, choice.high, log=choice.log)
