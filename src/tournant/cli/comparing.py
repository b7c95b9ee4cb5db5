"""`tournant dag`, `params diff`, `metrics diff` and `plots`."""

from pathlib import Path

import click

from tournant.cli.options import as_json, local_actor, number, print_json, print_table, say
from tournant.config import Settings
from tournant.domain.pipeline import Project
from tournant.errors import NotFound
from tournant.services.context import Context
from tournant.services.tracking import RunDifference, compare_runs

_PROJECT = click.option(
    "--project",
    default=".",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The project's folder.",
)
_HOME = click.option("--home", envvar="TOURNANT_HOME", help="The home folder.  [default: .tournant in the project]")
_DATABASE = click.option(
    "--database", envvar="TOURNANT_DATABASE", help="A postgresql:// URL.  [default: SQLite in the home]"
)


def _open(project: Path, home: str | None, database: str | None) -> Context:
    from tournant.bootstrap.house import open_context

    return open_context(Settings.load(home=home or project / ".tournant", database=database), actor=local_actor())


@click.command()
@click.option("--svg", type=click.Path(dir_okay=False, path_type=Path), help="Draw it into this file instead.")
@_PROJECT
@_HOME
@_DATABASE
def dag(svg: Path | None, project: Path, home: str | None, database: str | None) -> None:
    """Draw the project's steps, each under those it waits for, with what a run would do now."""
    from tournant.domain.dag import draw_svg, draw_text
    from tournant.services.plans import plan_project

    plan = plan_project(_open(project, home, database), project)
    steps, notes = [planned.step for planned in plan], {planned.step.name: planned.action.value for planned in plan}
    if svg:
        svg.write_text(draw_svg(steps, notes), encoding="utf-8")
        return say(f"drawn    {svg}")
    for row in draw_text(steps, notes):
        click.echo(row)
    return None


@click.group()
def params() -> None:
    """Params of runs."""


@click.group()
def metrics() -> None:
    """Metrics of runs."""


@params.command("diff")
@click.argument("one", default="last~1")
@click.argument("other", default="last")
@as_json
@_PROJECT
@_HOME
@_DATABASE
def diff_params(one: str, other: str, as_json: bool, project: Path, home: str | None, database: str | None) -> None:
    """Show the params that differ between the runs ONE and OTHER: an id, its last digits, a name, `last`, `last~1`."""
    runs, found = _compare(_open(project, home, database), project, one, other)
    if as_json:
        return print_json({"runs": runs, "params": found.params})
    rows = [(name, *("none" if value is None else value for value in values)) for name, values in found.params.items()]
    return print_table(("PARAM", *runs), rows, empty=f"{runs[0]} and {runs[1]} have the same params")


@metrics.command("diff")
@click.argument("one", default="last~1")
@click.argument("other", default="last")
@as_json
@_PROJECT
@_HOME
@_DATABASE
def diff_metrics(one: str, other: str, as_json: bool, project: Path, home: str | None, database: str | None) -> None:
    """Show the metrics that differ between the runs ONE and OTHER: an id, its last digits, a name, `last`, `last~1`."""
    runs, found = _compare(_open(project, home, database), project, one, other)
    if as_json:
        return print_json({"runs": runs, "metrics": found.metrics})
    rows = [
        (name, number(a), number(b), number(b - a) if a is not None and b is not None else "")
        for name, (a, b) in found.metrics.items()
    ]
    return print_table(("METRIC", *runs, "CHANGE"), rows, empty=f"{runs[0]} and {runs[1]} have the same metrics")


@click.command()
@click.argument("runs", nargs=-1)
@click.option("--out", default="plots.html", type=click.Path(dir_okay=False, path_type=Path), help="The page to write.")
@as_json
@_PROJECT
@_HOME
@_DATABASE
def plots(
    runs: tuple[str, ...], out: Path, as_json: bool, project: Path, home: str | None, database: str | None
) -> None:
    """Draw the project's plots of RUNS over each other (the newest run's by default) into one page."""
    from tournant.domain.plots import draw_page
    from tournant.services.run_plots import find_run, read_plots

    ctx = _open(project, home, database)
    loaded = _load(ctx, project)
    chosen = [find_run(ctx, name, experiment=loaded.name) for name in runs or ("last",)]
    found = read_plots(ctx, loaded, chosen)
    if not found:
        raise NotFound(
            f"{', '.join(run.name for run in chosen)}: no step has made a plot; name files under 'plots' of a step"
        )
    if as_json:
        return print_json(found)
    out.write_text(draw_page(found), encoding="utf-8")
    return say(f"drawn    {out}")


def _load(ctx: Context, project: Path) -> Project:
    from tournant.services.pipeline_inputs import names_in_store
    from tournant.services.projects import load_project

    return load_project(project, provided=names_in_store(ctx))


def _compare(ctx: Context, project: Path, one: str, other: str) -> tuple[list[str], RunDifference]:
    from tournant.services.run_plots import find_run

    experiment = _load(ctx, project).name if (project / "tournant.yaml").exists() else None
    runs = [find_run(ctx, name, experiment=experiment) for name in (one, other)]
    return [run.name for run in runs], compare_runs(ctx, [run.id for run in runs])
