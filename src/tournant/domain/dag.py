"""A pipeline's steps as a picture: in a terminal as rows of a graph, and as SVG."""

from collections.abc import Mapping, Sequence
from html import escape

from tournant.domain.pipeline import Step, producers

__all__ = ["draw_svg", "draw_text", "layers"]

_BOX_WIDTH, _BOX_HEIGHT, _GAP_X, _GAP_Y, _MARGIN = 190, 46, 28, 54, 16
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
    """Draw boxes in layers with arrows from maker to reader, as a whole SVG file that needs nothing else."""
    rows, waits = layers(steps), producers(steps)
    widest = max((len(row) for row in rows), default=1)
    width = 2 * _MARGIN + widest * (_BOX_WIDTH + _GAP_X) - _GAP_X
    height = 2 * _MARGIN + len(rows) * (_BOX_HEIGHT + _GAP_Y) - _GAP_Y
    places = {}
    for level, row in enumerate(rows):
        left = (width - len(row) * (_BOX_WIDTH + _GAP_X) + _GAP_X) / 2
        for index, name in enumerate(row):
            places[name] = (left + index * (_BOX_WIDTH + _GAP_X), _MARGIN + level * (_BOX_HEIGHT + _GAP_Y))
    arrows = [_arrow(places[before], places[step.name]) for step in steps for before in waits[step.name]]
    boxes = [_box(step, places[step.name], notes.get(step.name, "")) for step in steps]
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{height:g}" viewBox="0 0 {width:g} {height:g}" '
        'font-family="system-ui, sans-serif" font-size="13">\n<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" '
        'markerWidth="7" markerHeight="7" orient="auto"><path d="M0 0 L8 4 L0 8 z" fill="#667085"/></marker></defs>'
    )
    return "\n".join([head, *arrows, *boxes, "</svg>\n"])


def _arrow(start: tuple[float, float], end: tuple[float, float]) -> str:
    x1, y1 = start[0] + _BOX_WIDTH / 2, start[1] + _BOX_HEIGHT
    x2, y2 = end[0] + _BOX_WIDTH / 2, end[1] - 1
    bend = (y2 - y1) / 2
    curve = f"M{x1:g} {y1:g} C{x1:g} {y1 + bend:g} {x2:g} {y2 - bend:g} {x2:g} {y2:g}"
    return f'<path d="{curve}" fill="none" stroke="#667085" stroke-width="1.3" marker-end="url(#tip)"/>'


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
