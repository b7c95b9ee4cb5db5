"""How steps follow from each other, and when a step's work can be taken from the cache."""

import dataclasses
import itertools
import random
import re

from hypothesis import given
from hypothesis import strategies as st

from tournant.domain.dag import draw_svg
from tournant.domain.pipeline import Step, cache_key, find_cycle, in_order, overlaps, producers, upstream

names = st.text("abcxyz_/. =\n\"'1", min_size=1, max_size=6)


@st.composite
def acyclic_steps(draw: st.DrawFn) -> list[Step]:
    """Draw steps that depend on outs of earlier ones only, in any order."""
    count = draw(st.integers(1, 8))
    steps = []
    for number in range(count):
        deps = draw(st.sets(st.integers(0, number - 1))) if number else set()
        steps.append(Step(name=f"s{number}", run="x", deps=tuple(f"o{dep}/file" for dep in deps), outs=(f"o{number}",)))
    return draw(st.permutations(steps))


@given(acyclic_steps())
def test_each_step_stands_after_those_it_waits_for(steps: list[Step]) -> None:
    """The order is a topological one, and loses no step."""
    assert find_cycle(steps) == ()
    ordered = in_order(steps)
    place = {step.name: index for index, step in enumerate(ordered)}
    assert sorted(place) == sorted(step.name for step in steps)
    for name, waits in producers(steps).items():
        assert all(place[other] < place[name] for other in waits)


@given(acyclic_steps(), st.data())
def test_a_cycle_is_found_and_named(steps: list[Step], data: st.DataObject) -> None:
    """Tie any step to its own outcome: the cycle that is named is one."""
    last = data.draw(st.sampled_from(steps))
    first = data.draw(st.sampled_from([step for step in steps if step.name in upstream(steps, [last.name])]))
    tied = [dataclasses.replace(s, deps=(*s.deps, *last.outs)) if s.name == first.name else s for s in steps]
    cycle = find_cycle(tied)
    waits = producers(tied)
    assert cycle[0] == cycle[-1]
    assert all(earlier in waits[later] for earlier, later in itertools.pairwise(cycle))


@given(acyclic_steps(), st.data())
def test_upstream_is_closed(steps: list[Step], data: st.DataObject) -> None:
    """Whatever a needed step waits for is needed."""
    needed = upstream(steps, data.draw(st.sets(st.sampled_from([step.name for step in steps]))))
    waits = producers(steps)
    assert all(other in needed for name in needed for other in waits[name])


@dataclasses.dataclass(frozen=True)
class Inputs:
    """All that a cache key is made from."""

    run: str
    params: tuple[tuple[str, int | str | float], ...]
    deps: tuple[tuple[str, str], ...]
    environment: str
    outs: tuple[str, ...]
    metrics: tuple[str, ...]
    env: tuple[tuple[str, str], ...]

    @property
    def key(self) -> str:
        """Give the cache key."""
        step = Step(name="s", run=self.run, outs=self.outs, metrics=self.metrics, env=dict(self.env))
        return cache_key(step, params=dict(self.params), deps=dict(self.deps), environment=self.environment)


def _pairs(values: st.SearchStrategy[object]) -> st.SearchStrategy[tuple[object, ...]]:
    return st.dictionaries(names, values, max_size=2).map(lambda found: tuple(sorted(found.items())))


inputs = st.builds(
    Inputs,
    run=names,
    params=_pairs(st.integers(0, 2) | st.sampled_from(["0", "1"])),
    deps=_pairs(names),
    environment=names,
    outs=st.sets(names, max_size=2).map(lambda found: tuple(sorted(found))),
    metrics=st.sets(names, max_size=2).map(lambda found: tuple(sorted(found))),
    env=_pairs(names),
)


@given(inputs, inputs)
def test_the_cache_key_changes_exactly_with_the_inputs(a: Inputs, b: Inputs) -> None:
    """Equal inputs give equal keys; the smallest difference gives another."""
    assert (a.key == b.key) == (a == b)


@given(inputs, inputs, st.data())
def test_each_input_alone_changes_the_cache_key(a: Inputs, b: Inputs, data: st.DataObject) -> None:
    """Take one field from elsewhere: the key changes if and only if the field does."""
    field = data.draw(st.sampled_from([f.name for f in dataclasses.fields(Inputs)]))
    changed = dataclasses.replace(a, **{field: getattr(b, field)})
    assert (changed.key == a.key) == (changed == a)


@given(names, names)
def test_overlap_is_mutual(a: str, b: str) -> None:
    """Being the same or inside each other does not depend on who is named first."""
    assert overlaps(a, b) == overlaps(b, a)
    assert overlaps(a, f"{a}/{b}")


def test_no_arrow_of_the_picture_goes_through_a_box() -> None:
    """Arrows bend between rows only, and pass a row beside its boxes."""
    dice = random.Random(4)
    for _ in range(20):
        steps = []
        for number in range(dice.randint(1, 25)):
            deps = dice.sample(range(number), min(number, dice.choice([0, 1, 1, 2, 4])))
            steps.append(Step(name=f"s{number}", run="", deps=tuple(f"o{dep}" for dep in deps), outs=(f"o{number}",)))
        picture = draw_svg(steps, {})
        number = r'"([\d.]+)"'
        boxes = [
            tuple(map(float, found))
            for found in re.findall(rf"<rect x={number} y={number} width={number} height={number}", picture)
        ]
        assert len(boxes) == len(steps)
        tops = {y for _, y, _, _ in boxes}
        paths = re.findall(r'<path d="(M[^"]+)" fill="none"', picture)
        assert len(paths) == sum(len(step.deps) for step in steps)
        for path in paths:
            for x, top, bottom in re.findall(r"([\d.]+) ([\d.]+) V([\d.]+)", path):
                assert float(top) in tops
                assert not any(
                    left - 1 < float(x) < left + width + 1 and y < float(bottom) and float(top) < y + height
                    for left, y, width, height in boxes
                )
