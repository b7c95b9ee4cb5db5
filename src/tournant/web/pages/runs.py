"""`/runs`: the run table."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from urllib.parse import urlencode

from tournant.domain.filters import parse_filter, parse_order
from tournant.domain.registry import ModelVersion
from tournant.domain.run_query import All, Comparison, Condition, Entity, Ordering, RunQuery
from tournant.domain.tracking import Experiment, Run, RunStatus
from tournant.errors import Invalid, NotFound
from tournant.web.pages.ask import Ask, Crumb, Page, Verdict, View
from tournant.web.pages.formats import stamp
from tournant.web.pages.run_columns import Column, chosen_columns, known_columns, order_text, varying_params

__all__ = ["PAGES", "RunsPage", "Sorting"]

PAGE = 50
FURTHEST = 10_000_000  # rows that may stand before a page's first
MOST_EXPERIMENTS = 200  # to choose from
NEWEST = Ordering(entity=Entity.ATTRIBUTE, key="start_time", descending=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sorting:
    """How a column's header sorts: the address, and the direction it is sorted in now (as `aria-sort` has it)."""

    href: str
    now: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunsPage(View):
    """Runs in the order asked for, 50 a page, in the columns chosen."""

    runs: tuple[Run, ...] = ()
    versions: dict[str, str]
    columns: tuple[Column, ...] = ()
    choices: dict[str, tuple[Column, ...]]
    sorting: dict[str, Sorting]
    constant: dict[str, str]
    experiments: tuple[str, ...] = ()
    status: str
    experiment: str
    filter: str
    order: str
    first: int | None = None  # of the rows shown, where that is known
    filtered: bool
    asked: tuple[tuple[str, str], ...]  # of the query, what goes on to other pages
    newest: str = ""
    older: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """What the address asks for."""

    status: str
    experiment: str
    filter: str
    order: str
    offset: int
    after: str
    columns: tuple[str, ...]

    @property
    def narrow(self) -> bool:
        """Whether only some runs are asked for."""
        return bool(self.status or self.experiment or self.filter)

    def pairs(self, *, columns: bool = True, order: str | None = None) -> list[tuple[str, str]]:
        """Give the query again, from its first page on."""
        order = self.order if order is None else order
        kept = {"status": self.status, "experiment": self.experiment, "filter": self.filter, "order": order}
        chosen = [("col", column) for column in self.columns] if columns else []
        return [*((name, value) for name, value in kept.items() if value), *chosen]


def list_runs(ask: Ask) -> RunsPage:
    """List runs: by keyset where they are ordered by their start, else by their place."""
    asked = _read(ask)
    try:
        query = _query(ask, asked)
    except Invalid as exc:
        if not exc.place.startswith(("filter", "order")):
            raise
        return _page(ask, asked, (), problem=exc.message)
    return _page(ask, asked, ask.uow.runs.find(query))


def _read(ask: Ask) -> _Asked:
    status = ask.query.get("status", "")
    if status and status not in tuple(RunStatus):
        raise Invalid(f"status must be one of {', '.join(RunStatus)}, not {status!r}", place="status")
    order = ask.query.get("order", "")
    return _Asked(
        status=status,
        experiment=ask.query.get("experiment", ""),
        filter=ask.query.get("filter", ""),
        order="" if order == order_text(NEWEST) else order,
        offset=ask.whole("offset", FURTHEST),
        after=ask.query.get("after", ""),
        columns=ask.every("col"),
    )


def _query(ask: Ask, asked: _Asked) -> RunQuery:
    conditions: list[Condition] = [parse_filter(asked.filter)]
    if asked.status:
        conditions.append(Comparison(entity=Entity.ATTRIBUTE, key="status", operator="=", value=asked.status))
    numbers = None
    if asked.experiment:
        numbers = tuple(e.number for e in ask.uow.find(Experiment, name=asked.experiment))
    query = RunQuery(experiments=numbers, condition=All(tuple(conditions)), limit=PAGE + 1)
    if asked.order:
        return replace(query, order=(parse_order(asked.order),), offset=asked.offset)
    if not asked.after:
        return query
    last = ask.uow.runs.get(asked.after)
    if last is None:
        raise NotFound(f"There is no run {asked.after!r} any more that this page could follow: start at /runs.")
    return replace(query, after=(last.started_at, last.id))


def _page(ask: Ask, asked: _Asked, found: Sequence[Run], problem: str = "") -> RunsPage:
    runs = tuple(found[:PAGE])
    registered = ask.uow.find(ModelVersion, run__in=[run.id for run in runs]) if runs else []
    versions = {version.run: version.id for version in registered}
    columns = chosen_columns(ask, runs, versions)
    shown = {column.key for column in columns if column.kind == "params"}
    constant = {key: value for key, value in varying_params(runs)[1].items() if key not in shown}
    older = ""
    if len(found) > PAGE:
        step = ("offset", str(asked.offset + PAGE)) if asked.order else ("after", runs[-1].id)
        older = _address([*asked.pairs(), step])
    later = bool(asked.after or asked.offset)
    return RunsPage(
        title="Runs",
        crumbs=(Crumb(text="Runs"),),
        command="tournant runs list"
        + "".join(f" --{key} {shlex.quote(value)}" for key, value in asked.pairs(columns=False) if key != "status"),
        verdict=_verdict(asked, runs, problem, ask.now),
        problem=problem,
        now=ask.now,
        runs=runs,
        versions=versions,
        columns=columns,
        choices=known_columns(runs, columns),
        sorting=_sorting(asked, columns),
        constant=constant,
        experiments=tuple(e.name for e in ask.uow.find(Experiment, order="-updated_at", limit=MOST_EXPERIMENTS)),
        status=asked.status,
        experiment=asked.experiment,
        filter=asked.filter,
        order=asked.order,
        first=None if asked.after else asked.offset + 1,
        filtered=asked.narrow or later,
        asked=tuple(asked.pairs(columns=False)),
        newest=_address(asked.pairs()) if later else "",
        older=older,
    )


def _address(pairs: Sequence[tuple[str, str]]) -> str:
    return "/runs" + ("?" + urlencode(pairs) if pairs else "")


def _sorting(asked: _Asked, columns: Sequence[Column]) -> dict[str, Sorting]:
    """Say how each header sorts: the other way round where it sorts already, else numbers and times downwards."""
    try:
        now = parse_order(asked.order) if asked.order else NEWEST
    except Invalid:
        now = NEWEST
    orders = {column.id: column.orders for column in columns if column.orders}
    orders["name"] = Ordering(entity=Entity.ATTRIBUTE, key="run_name")
    found = {}
    for name, ordering in orders.items():
        same = (ordering.entity, ordering.key) == (now.entity, now.key)
        first = ordering.entity is Entity.METRIC or ordering.key in ("start_time", "duration")
        text = order_text(replace(ordering, descending=not now.descending if same else first))
        if text:
            direction = ("descending" if now.descending else "ascending") if same else ""
            newest = "" if text == order_text(NEWEST) else text
            found[name] = Sorting(href=_address(asked.pairs(order=newest)), now=direction)
    return found


def _verdict(asked: _Asked, runs: Sequence[Run], problem: str, now: float) -> Verdict | None:
    if problem:
        return Verdict(tone="crit", head="This cannot be searched for.", text=problem)
    if runs:
        return _list_verdict(runs, now)
    if asked.offset or asked.after:
        return Verdict(tone="idle", head="There are no more runs.")
    return Verdict(tone="idle", head="No run is found.") if asked.narrow else None


def _list_verdict(runs: Sequence[Run], now: float) -> Verdict:
    running = [run for run in runs if run.status is RunStatus.RUNNING]
    failed = [run for run in runs if run.status is RunStatus.FAILED]
    newest = max(runs, key=lambda run: run.started_at)
    text = f"The newest of them, {newest.name}, started {stamp(newest.started_at, now)} UTC and is {newest.status}."
    if running:
        return Verdict(
            tone="prog", head=f"{len(running)} running now, {len(failed)} of {len(runs)} shown failed.", text=text
        )
    tone = "crit" if newest.status is RunStatus.FAILED else "ok" if newest.status is RunStatus.SUCCESSFUL else "idle"
    return Verdict(tone=tone, head=f"{len(failed)} of the {len(runs)} runs shown failed.", text=text)


PAGES = (Page(path="/runs", template="runs.html", section="runs", view=list_runs),)
