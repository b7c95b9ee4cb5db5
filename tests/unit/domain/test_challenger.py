"""The gate lets better challengers through, and only those."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from tournant.domain.challenger import find_refusal, judge_challenger
from tournant.domain.registry import Conversion, ConversionStatus
from tournant.domain.retraining import RetrainingPolicy

POLICY = RetrainingPolicy(dataset="flights", gate_units=14, gate_alpha=0.1)
CONVERTED = Conversion(status=ConversionStatus.SUCCESSFUL)
UNITS = np.repeat(np.arange(14), 50)


def days(
    *, shift: float, spread: float = 0.01, seed: int = 0
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Losses of champion and challenger whose difference varies from day to day, not within one."""
    rng = np.random.default_rng(seed)
    champion = rng.gamma(2.0, 0.25, len(UNITS))
    return champion, champion + np.repeat(rng.normal(shift, spread, 14), 50)


@pytest.mark.parametrize(
    ("rule", "margin", "shift", "passed"),
    [
        ("superior", 0.0, -0.02, True),
        ("superior", 0.0, -0.001, False),
        ("better_mean", 0.0, -0.006, True),
        ("better_mean", 0.0, 0.02, False),
        ("non_inferior", 0.01, 0.0, True),
        ("non_inferior", 0.01, 0.02, False),
    ],
)
def test_each_rule_asks_for_what_it_says(rule: str, margin: float, shift: float, passed: bool) -> None:
    """On synthetic days with a known difference."""
    policy = replace(POLICY, gate_rule=rule, gate_margin=margin)
    result = judge_challenger(policy, *days(shift=shift), UNITS, metric="log_loss")
    assert result.passed is passed
    assert rule in result.reason
    assert (result.units, result.rows) == (14, 700)
    assert result.lower is not None and result.difference is not None and result.upper is not None
    assert result.lower <= result.difference <= result.upper


def test_days_and_not_rows_are_the_evidence() -> None:
    """One good day of many rows is no proof, however many rows it has."""
    champion = np.ones(len(UNITS))
    challenger = champion - np.where(UNITS == 3, 0.5, -0.01)
    assert not judge_challenger(POLICY, champion, challenger, UNITS, metric="log_loss").passed


def test_an_equal_challenger_is_promoted_no_more_often_than_alpha_says() -> None:
    """Under no difference, one-sided 5 % of gates pass (alpha = 0.1 two-sided); few days make it a little more."""
    passed = sum(
        judge_challenger(POLICY, *days(shift=0.0, seed=seed), UNITS, metric="log_loss").passed for seed in range(300)
    )
    assert passed / 300 <= 0.10


def test_a_challenger_that_cannot_answer_is_refused() -> None:
    """A row it gives no prediction for is not left out in its favour."""
    champion, challenger = days(shift=-0.1)
    challenger[5] = np.nan
    result = judge_challenger(POLICY, champion, challenger, UNITS, metric="log_loss")
    assert not result.passed
    assert "no prediction for 1 of 700 rows" in result.reason


def test_failed_tests_refuse_and_are_named() -> None:
    """Every failed test is named."""
    tests = {"beats_base_rate": False, "runs": True, "monotone": False}
    reason = find_refusal(tests, champion=CONVERTED, challenger=CONVERTED, present=14, wanted=14)
    assert reason == "tests failed: beats_base_rate, monotone"


def test_losing_parity_refuses_only_where_the_champion_has_it() -> None:
    """A model that falls back to its environment may be a thousand times slower than the champion."""
    wrong = Conversion(status=ConversionStatus.REJECTED, reason="differs by 0.52")
    reason = find_refusal({}, champion=CONVERTED, challenger=wrong, present=14, wanted=14)
    assert "differs by 0.52" in reason
    assert not find_refusal({}, champion=wrong, challenger=wrong, present=14, wanted=14)


@pytest.mark.parametrize(("present", "wanted", "enough"), [(6, 14, False), (7, 14, True), (1, 1, False), (2, 3, True)])
def test_too_few_units_with_labels_refuse(present: int, wanted: int, enough: bool) -> None:
    """Half the units wanted, and two at least."""
    reason = find_refusal({}, champion=CONVERTED, challenger=CONVERTED, present=present, wanted=wanted)
    assert (reason == "") is enough
