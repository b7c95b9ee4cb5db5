"""When a trial is hopeless: the median stopping rule."""

import statistics
from dataclasses import dataclass, field

__all__ = ["MedianRule"]

FEWEST_TRIALS = 3  # that must have come as far, before any is judged by them


@dataclass(slots=True)
class MedianRule:
    """Judges trials by what others had shown by the same step (Golovin et al. 2017, "Google Vizier", section 3.2).

    A trial is hopeless at a step if the best it has reported so far is worse than the median of the other trials' running
    averages up to that step. Trials under way count as well as those that have ended.

    >>> rule = MedianRule(maximize=True)
    >>> for trial, values in enumerate([(0.6, 0.7), (0.5, 0.7), (0.6, 0.8)]):
    ...     for step, value in enumerate(values):
    ...         _ = rule.note(trial, step, value)
    >>> rule.note(3, 0, 0.62), rule.note(3, 1, 0.5)
    ('', 'its best by step 1 is 0.62, and 0.65 is the median of 3 others')
    """

    maximize: bool
    _reported: dict[int, dict[int, float]] = field(default_factory=dict)  # trial to step to value

    def note(self, trial: int, step: int, value: float) -> str:
        """Take in what a trial reports; give why it is hopeless, or nothing."""
        own = self._reported.setdefault(trial, {})
        own[step] = value
        averages = []
        for other, values in self._reported.items():
            earlier = [reported for at, reported in values.items() if at <= step]
            if other != trial and max(values) >= step and earlier:
                averages.append(statistics.fmean(earlier))
        if len(averages) < FEWEST_TRIALS:
            return ""
        median = statistics.median(averages)
        seen = [reported for at, reported in own.items() if at <= step]
        best = max(seen) if self.maximize else min(seen)
        if (best < median) if self.maximize else (best > median):
            return f"its best by step {step} is {best:.4g}, and {median:.4g} is the median of {len(averages)} others"
        return ""
