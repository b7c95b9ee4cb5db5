"""A pipeline's steps as a picture: in a terminal as rows of a graph, and as SVG."""

from collections.abc import Mapping, Sequence
from html import escape
from itertools import pairwise
from statistics import fmean
from typing import NamedTuple

from tournant.domain.pipeline import Step, producers

__all__ = ["draw_svg", "draw_text", "layers"]

_BOX_WIDTH, _BOX_HEIGHT, _GAP_X, _GAP_Y, _MARGIN = 190, 46, 28, 54, 16
_LANE_WIDTH, _SWEEPS = 14, 8
_TEXT_WIDTH = 26  # characters that fit in a box


def layers(steps: Sequence[Step]) -> list[list[str]]:
    """Give the steps by how many must run one after the other before them.

    >>> layers([Step(name="a", run="", outs=("x",)), Step(name="b", run="", deps=("x",)), Step(name="c", run="")])
    [['a', 'c'], ['b']]
    """
    waits = producers(steps)
    depth: dict[str, int] = {}
    for step in steps:  # in an order in which they can run
        depth[step.name] = 1 + max((depth[name] for name in waits[step.name]), default=-1)
    return [
        [name for name, found in depth.items() if found == level]
        for level in range(max(depth.values(), default=-1) + 1)
    ]


def draw_text(steps: Sequence[Step], notes: Mapping[str, str]) -> list[str]:
    r"""Draw one row a step, with the lines from what it waits for; `notes` stand behind the names.

    >>> a, b, c = (Step(name=n, run="", deps=d, outs=o) for n, d, o in (("a", (), ("x",)), ("b", ("x",), ()), ("c", ("x",), ())))
    >>> print("\n".join(draw_text([a, b, c], {"b": "cached"})))
    ● a
    ├─● b  cached
    ╰─● c
    """
    waits = producers(steps)
    later = {step.name: [s.name for s in steps if step.name in waits[s.name]] for step in steps}
    lanes: list[str | None] = []  # the step whose line runs down in this column
    rows = []
    for step in steps:
        ended = {name for name in waits[step.name] if later[name][-1] == step.name}
        joined = [index for index, lane in enumerate(lanes) if lane in waits[step.name]]
        cells = [_cell(lane, index, joined, ended) for index, lane in enumerate(lanes)]
        place = joined[-1] + 1 if joined else len(lanes)
        place = next((i for i in range(place, len(lanes)) if lanes[i] is None), len(lanes))
        cells = cells[:place] + ["  "] * (place - len(cells)) + ["● "] + cells[place + 1 :]
        if joined:
            for index in range(joined[-1] + 1, place):
                cells[index] = cells[index].replace("  ", "──").replace("│ ", "┼─")
        note = notes.get(step.name, "")
        rows.append(f"{''.join(cells)}{step.name}" + (f"  {note}" if note else ""))
        lanes = [None if lane in ended else lane for lane in lanes]
        if later[step.name]:
            lanes = [*lanes[:place], *[None] * (place - len(lanes)), step.name, *lanes[place + 1 :]]
        while lanes and lanes[-1] is None:
            lanes.pop()
    return rows


def _cell(lane: str | None, index: int, joined: Sequence[int], ended: set[str]) -> str:
    if index in joined:
        if index == joined[0]:
            return "╰─" if lane in ended else "├─"
        return "┴─" if lane in ended else "┼─"
    if joined and index > joined[0]:
        return "┼─" if lane and index < joined[-1] else "──" if index < joined[-1] else "│ " if lane else "  "
    return "│ " if lane else "  "


def draw_svg(steps: Sequence[Step], notes: Mapping[str, str]) -> str:
    """Draw boxes in layers with arrows from maker to reader, as a whole SVG file that needs nothing else.

    An arrow over several layers has a place of its own in each between, so that it passes beside the boxes (Sugiyama et al. 1981).
    """
    rows, arrows = _arranged(steps)
    widths = [sum(map(_width, row)) + _GAP_X * (len(row) - 1) for row in rows]
    width = 2 * _MARGIN + max(widths, default=_BOX_WIDTH)
    height = 2 * _MARGIN + len(rows) * (_BOX_HEIGHT + _GAP_Y) - _GAP_Y
    middles: dict[_Node, tuple[float, float]] = {}
    for level, (row, wide) in enumerate(zip(rows, widths, strict=True)):
        left = (width - wide) / 2
        for node in row:
            middles[node] = (left + _width(node) / 2, _MARGIN + level * (_BOX_HEIGHT + _GAP_Y))
            left += _width(node) + _GAP_X
    by_name = {step.name: step for step in steps}
    boxes = [
        _box(by_name[node.step], (x - _BOX_WIDTH / 2, y), notes.get(node.step, ""))
        for node, (x, y) in middles.items()
        if not node.reader
    ]
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{height:g}" viewBox="0 0 {width:g} {height:g}" '
        'font-family="system-ui, sans-serif" font-size="13">\n<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" '
        'markerWidth="7" markerHeight="7" orient="auto"><path d="M0 0 L8 4 L0 8 z" fill="#667085"/></marker></defs>'
    )
    return "\n".join([head, *(_arrow([middles[node] for node in arrow]) for arrow in arrows), *boxes, "</svg>\n"])


class _Node(NamedTuple):
    """A step's box; with a `reader` the place at `level` that an arrow from the step to that one goes through."""

    step: str
    reader: str = ""
    level: int = 0


def _width(node: _Node) -> float:
    return _LANE_WIDTH if node.reader else _BOX_WIDTH


def _arranged(steps: Sequence[Step]) -> tuple[list[list[_Node]], list[list[_Node]]]:
    """Give the rows of nodes, ordered so that few arrows cross, and for each arrow the nodes it goes by."""
    waits = producers(steps)
    levels = {name: level for level, row in enumerate(layers(steps)) for name in row}
    rows = [[_Node(name) for name in row] for row in layers(steps)]
    arrows = []
    for step in steps:
        for before in waits[step.name]:
            between = [_Node(before, step.name, at) for at in range(levels[before] + 1, levels[step.name])]
            for node in between:
                rows[node.level].append(node)
            arrows.append([_Node(before), *between, _Node(step.name)])
    near: dict[_Node, tuple[list[_Node], list[_Node]]] = {node: ([], []) for row in rows for node in row}
    for arrow in arrows:
        for one, other in pairwise(arrow):
            near[one][1].append(other)
            near[other][0].append(one)
    for turn in range(_SWEEPS):
        up = turn % 2
        for row in reversed(rows) if up else rows:
            _settle(row, rows, near, up)
    return rows, arrows


def _settle(
    row: list[_Node], rows: list[list[_Node]], near: Mapping[_Node, tuple[list[_Node], list[_Node]]], up: int
) -> None:
    """Order a row by the mean place of what it is joined to in the row before (or, `up`, after); the rest stays."""
    places = {node: (index + 0.5) / len(other) for other in rows for index, node in enumerate(other)}
    means = {node: fmean(places[n] for n in near[node][up]) if near[node][up] else places[node] for node in row}
    row.sort(key=means.__getitem__)


def _arrow(middles: Sequence[tuple[float, float]]) -> str:
    """Draw a line that bends only between rows."""
    path = [f"M{middles[0][0]:g} {middles[0][1] + _BOX_HEIGHT:g}"]
    for (x1, y1), (x2, y2) in pairwise(middles):
        top, bottom = y1 + _BOX_HEIGHT, y2 - (1 if (x2, y2) == middles[-1] else 0)
        bend = (top + bottom) / 2
        path.append(f"C{x1:g} {bend:g} {x2:g} {bend:g} {x2:g} {bottom:g}")
        if (x2, y2) != middles[-1]:
            path.append(f"V{y2 + _BOX_HEIGHT:g}")
    return f'<path d="{" ".join(path)}" fill="none" stroke="#667085" stroke-width="1.3" marker-end="url(#tip)"/>'


def _box(step: Step, place: tuple[float, float], note: str) -> str:
    x, y = place
    name = step.name if len(step.name) <= _TEXT_WIDTH else f"{step.name[: _TEXT_WIDTH - 1]}…"
    small = note or ", ".join(step.products)
    small = small if len(small) <= _TEXT_WIDTH + 4 else f"{small[: _TEXT_WIDTH + 3]}…"
    return (
        f'<g><title>{escape(step.run)}</title><rect x="{x:g}" y="{y:g}" width="{_BOX_WIDTH}" height="{_BOX_HEIGHT}" rx="6" '
        f'fill="#f5f7fa" stroke="#98a2b3"/><text x="{x + 10:g}" y="{y + 19:g}" font-weight="600" fill="#1d2939">'
        f'{escape(name)}</text><text x="{x + 10:g}" y="{y + 36:g}" font-size="11" fill="#667085">{escape(small)}</text></g>'
    )
