"""The sticky split and the circuit breaker."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from tournant.serving.split import Breaker, split_place

WEIGHTS = st.integers(0, 10_000)


@given(st.text(), st.text(), WEIGHTS, WEIGHTS)
def test_raising_a_weight_never_moves_an_entity_back(rollout, entity, one, other):
    """Who is on the canary at a weight is on it at every higher one."""
    low, high = sorted((one, other))
    place = split_place(rollout, entity).bucket
    assert not (place < low and not place < high)


@given(st.text(), st.text())
def test_everyone_is_on_the_canary_at_full_weight_and_nobody_at_none(rollout, entity):
    """The bucket lies in [0, 10,000)."""
    assert 0 <= split_place(rollout, entity).bucket < 10_000


def test_split_is_even():
    """Each tenth of the buckets gets about a tenth of the entities."""
    counts = Counter(split_place("rollout", f"N{number}").bucket // 1000 for number in range(20_000))
    assert all(1_800 < counts[tenth] < 2_200 for tenth in range(10))


def test_rollouts_are_independent():
    """Those on one rollout's canary are spread anew by the next."""
    first = [n for n in range(20_000) if split_place("a", str(n)).bucket < 1_000]
    again = sum(split_place("b", str(n)).bucket < 1_000 for n in first)
    assert 0.07 < again / len(first) < 0.13


def test_breaker_opens_at_five_errors_in_twenty_and_closes_on_success():
    """While it is open, every twentieth request is tried."""
    breaker = Breaker()
    for failed in [True] * 4 + [False] * 17:
        breaker.note(failed=failed)
    breaker.note(failed=True)
    assert breaker.allows()  # the first errors have left the window
    for _ in range(5):
        breaker.note(failed=True)
    assert [breaker.allows() for _ in range(40)].count(True) == 2
    breaker.note(failed=False)
    assert all(breaker.allows() for _ in range(40))


@given(st.lists(st.booleans()))
def test_breaker_stays_closed_below_five_errors(outcomes):
    """It never opens unless some window of twenty has five errors."""
    breaker = Breaker()
    for failed in outcomes:
        breaker.note(failed=failed)
    windows = [outcomes[max(0, end - 20) : end] for end in range(1, len(outcomes) + 1)]
    if all(sum(window) < 5 for window in windows):
        assert not breaker.open
