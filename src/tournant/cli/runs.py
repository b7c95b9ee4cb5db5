"""`tournant runs`."""

import click

from tournant.cli.options import as_json, client_options, long, number, print_json, print_table, when
from tournant.sdk.client import Client


@click.group()
def runs() -> None:
    """Tracked runs."""


@runs.command("list")
@click.option("--experiment", help="Only of this experiment.")
@click.option("--filter", "filter_", default="", help="Only what it finds: metrics.auc > 0.9 AND params.depth = '3'.")
@click.option("--order", default="", help="Such as metrics.auc DESC.  [default: the newest first]")
@click.option("--limit", default=20, show_default=True)
@as_json
@client_options
def list_runs(client: Client, experiment: str | None, filter_: str, order: str, limit: int, as_json: bool) -> None:
    """List runs, the newest first; filters are those of MLflow, with OR and parentheses."""
    found = client.runs.list(experiment=experiment, filter=filter_, order=order, limit=limit)
    if as_json:
        return print_json(found)
    rows = [
        (r.id[-7:], r.name, r.status.value, when(r.started_at), long(r.started_at, r.ended_at), _metrics(r.metrics))
        for r in found
    ]
    return print_table(
        ("ID", "NAME", "STATUS", "STARTED (UTC)", "TOOK", "METRICS"), rows, empty="no runs yet: tournant run"
    )


@runs.command("show")
@click.argument("run_id")
@as_json
@client_options
def show_run(client: Client, run_id: str, as_json: bool) -> None:
    """Show one run (by its id or the last digits of it) with its steps."""
    details = client.runs.get(id=_whole_id(client, run_id))
    if as_json:
        return print_json(details)
    run = details.run
    click.echo(f"{run.name}  {run.status.value}  {when(run.started_at)} UTC  {run.id}")
    click.echo(f"  data {', '.join(run.datasets) or '–'}   commit {run.commit[:7] or '–'}   code {run.code[:7] or '–'}")
    if run.error:
        click.echo(f"  why     {run.error}")
    for key, value in run.params.items():
        click.echo(f"  param   {key} = {value}")
    for key, value in run.metrics.items():
        click.echo(f"  metric  {key} = {value:.6g}")
    steps = [
        (s.step, "cached" if s.cached else s.status.value, long(s.started_at, s.ended_at), s.log) for s in details.steps
    ]
    return print_table(("STEP", "STATUS", "TOOK", "LOG"), steps, empty="no steps")


@runs.command("delete")
@click.argument("run_id")
@client_options
def delete_run(client: Client, run_id: str) -> None:
    """Delete a run; it can be restored."""
    run = client.runs.delete(id=_whole_id(client, run_id))
    click.echo(f"{run.name} deleted. Restore it: tournant runs restore {run.id}")


@runs.command("restore")
@click.argument("run_id")
@client_options
def restore_run(client: Client, run_id: str) -> None:
    """Restore a deleted run, named by its whole id."""
    run = client.runs.restore(id=run_id)
    click.echo(f"{run.name} restored")


def _whole_id(client: Client, given: str) -> str:
    if len(given) == 32:
        return given
    matching = [run.id for run in client.runs.list(limit=1000) if run.id.endswith(given)]
    return matching[0] if len(matching) == 1 else given


def _metrics(metrics: dict[str, float]) -> str:
    return "  ".join(f"{key} {number(value)}" for key, value in list(metrics.items())[:4])
