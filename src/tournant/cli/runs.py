"""`tournant runs`."""

import json
import time

import click

from tournant.cli.options import as_json, client_options, long, number, print_json, print_table, say, when
from tournant.domain.tracking import Metric, Run, RunStatus
from tournant.sdk.client import Client

Position = tuple[float, int, float]  # of a point: time, step, value


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


@runs.command("diff")
@click.argument("run_ids", nargs=-1, required=True)
@as_json
@client_options
def diff_runs(client: Client, run_ids: tuple[str, ...], as_json: bool) -> None:
    """Show in what params, metrics, data, code and environment runs differ."""
    found = client.runs.diff(ids=[_whole_id(client, each) for each in run_ids])
    if as_json:
        return print_json(found)
    rows = [
        (
            kind,
            key,
            *("–" if value is None else number(value) if isinstance(value, float) else value for value in values),
        )
        for kind, values_by_key in (("param", found.params), ("metric", found.metrics), ("", found.inputs))
        for key, values in values_by_key.items()
    ]
    return print_table(("", "KEY", *(run[-7:] for run in found.runs)), rows, empty="no difference")


@runs.command("tail")
@click.argument("run_id")
@click.option("--metric", "keys", multiple=True, help="Only this metric; may be given several times.")
@click.option("--interval", default=1.0, show_default=True, help="Seconds between two looks.")
@click.option("--no-follow", is_flag=True, help="Print what there is, and do not wait for more.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
@client_options
def tail_run(
    client: Client, run_id: str, keys: tuple[str, ...], interval: float, no_follow: bool, as_json: bool
) -> None:
    """Print metrics of a run as they are logged, until it ends."""
    known = _whole_id(client, run_id)
    seen: dict[str, Position] = {}
    while True:
        run = client.runs.get(id=known).run
        for point in _new_points(client, run, keys, seen):
            if as_json:
                click.echo(json.dumps({"key": point.key, "step": point.step, "time": point.time, "value": point.value}))
            else:
                click.echo(f"{when(point.time)}  step {point.step:<8} {point.key} = {point.value:.6g}")
        if no_follow or run.status not in (RunStatus.PENDING, RunStatus.RUNNING):
            if not as_json:
                say(f"{run.name} is {run.status.value}" + (f": {run.error}" if run.error else ""))
            return
        time.sleep(interval)


def _new_points(client: Client, run: Run, keys: tuple[str, ...], seen: dict[str, Position]) -> list[Metric]:
    """Give the points since the last look, in the order of their times; only what changed is asked for."""
    found: list[Metric] = []
    for key, (step, at) in run.measured.items():
        position = (at, step, run.metrics[key])
        if (keys and key not in keys) or seen.get(key) == position:
            continue
        before = seen.get(key)
        points = client.runs.metric(id=run.id, key=key)
        found += [p for p in points if before is None or (p.time, p.step, p.value) > before]
        seen[key] = max([(p.time, p.step, p.value) for p in points], default=position)
    return sorted(found, key=lambda point: (point.time, point.step, point.key))


@runs.command("send")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def send_runs(as_json: bool) -> None:
    """Send what scripts have logged while their server was down, and what they left when they ended.

    It waits in the folder TOURNANT_JOURNAL (by default ~/.local/state/tournant/journal); a script that logs again sends it, too.
    """
    from tournant.sdk.sending import send_waiting

    found = send_waiting()
    if as_json:
        return print_json(found)
    for path, calls in found.sent.items():
        click.echo(f"sent {calls:,} calls: {path}")
    for path, reason in found.waiting.items():
        say(f"still waits: {path}: {reason}")
    if not found.sent and not found.waiting:
        say("nothing waits")
    return None


@runs.command("delete")
@click.argument("run_id")
@as_json
@client_options
def delete_run(client: Client, run_id: str, as_json: bool) -> None:
    """Delete a run; it can be restored until `tournant gc` frees its space."""
    run = client.runs.delete(id=_whole_id(client, run_id))
    if as_json:
        return print_json(run)
    return click.echo(f"{run.name} deleted. Restore it: tournant runs restore {run.id}")


@runs.command("restore")
@click.argument("run_id")
@as_json
@client_options
def restore_run(client: Client, run_id: str, as_json: bool) -> None:
    """Restore a deleted run, named by its whole id."""
    run = client.runs.restore(id=run_id)
    if as_json:
        return print_json(run)
    return click.echo(f"{run.name} restored")


def _whole_id(client: Client, given: str) -> str:
    if len(given) == 32:
        return given
    matching = [run.id for run in client.runs.list(limit=1000) if run.id.endswith(given)]
    return matching[0] if len(matching) == 1 else given


def _metrics(metrics: dict[str, float]) -> str:
    return "  ".join(f"{key} {number(value)}" for key, value in list(metrics.items())[:4])
