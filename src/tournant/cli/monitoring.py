"""`tournant monitors`, `alerts`, `retrainings` and `events`."""

import click

from tournant.cli.options import as_json, client_options, long, number, print_json, print_table, when
from tournant.sdk.client import Client


@click.group()
def monitors() -> None:
    """What is watched, and what was seen."""


@monitors.command("list")
@click.option("--deployment", help="Only of this deployment.")
@as_json
@client_options
def list_monitors(client: Client, deployment: str | None, as_json: bool) -> None:
    """List monitors with their latest value and limit."""
    found = client.monitors.list(deployment=deployment)
    if as_json:
        return print_json(found)
    rows = [(m.id, m.status, number(m.value), number(m.limit), when(m.evaluated_to), m.reason) for m in found]
    return print_table(
        ("MONITOR", "STATUS", "VALUE", "LIMIT", "UP TO (UTC)", "WHY"),
        rows,
        empty="no monitors have seen anything yet: predictions of a deployment, and time, make the first",
    )


@monitors.command("show")
@click.argument("deployment")
@click.option("--units", default=30, show_default=True, help="How many profiles.")
@as_json
@client_options
def show_monitors(client: Client, deployment: str, units: int, as_json: bool) -> None:
    """Show the profiles a deployment's monitors saw."""
    details = client.monitors.get(deployment=deployment, units=units)
    if as_json:
        return print_json(details)
    rows = [
        (
            when(p.unit_start),
            p.revision,
            p.rows,
            p.labelled,
            p.errors,
            number(p.loss_sum / p.labelled if p.labelled else None),
        )
        for p in details.profiles
    ]
    return print_table(
        ("UNIT (UTC)", "REVISION", "ROWS", "LABELLED", "ERRORS", "LOSS"),
        rows,
        empty=f"no profile of {deployment!r} yet",
    )


@click.group()
def alerts() -> None:
    """What monitors found."""


@alerts.command("list")
@click.option("--deployment", help="Only of this deployment.")
@click.option("--open", "only_open", is_flag=True, help="Only those that last.")
@click.option("--limit", default=20, show_default=True)
@as_json
@client_options
def list_alerts(client: Client, deployment: str | None, only_open: bool, limit: int, as_json: bool) -> None:
    """List the newest alerts."""
    found = client.alerts.list(deployment=deployment, state="open" if only_open else None, limit=limit)
    if as_json:
        return print_json(found)
    rows = [
        (a.id[-7:], a.kind.value, a.severity.value, a.state.value, when(a.opened_at), when(a.closed_at), a.summary)
        for a in found
    ]
    return print_table(
        ("ID", "KIND", "SEVERITY", "STATE", "OPENED (UTC)", "CLOSED (UTC)", "WHAT"), rows, empty="no alerts"
    )


@click.group()
def retrainings() -> None:
    """Renewals of models."""


@retrainings.command("list")
@click.option("--deployment", help="Only of this deployment.")
@click.option("--limit", default=20, show_default=True)
@as_json
@client_options
def list_retrainings(client: Client, deployment: str | None, limit: int, as_json: bool) -> None:
    """List the newest retrainings."""
    found = client.retrainings.list(deployment=deployment, limit=limit)
    if as_json:
        return print_json(found)
    rows = [
        (
            r.id[-7:],
            r.deployment,
            r.state.value,
            r.trigger,
            r.challenger,
            when(r.started_at),
            long(r.started_at, r.ended_at),
            r.reason,
        )
        for r in found
    ]
    columns = ("ID", "DEPLOYMENT", "STATE", "TRIGGER", "CHALLENGER", "STARTED (UTC)", "TOOK", "WHY")
    return print_table(columns, rows, empty="no retrainings yet")


@retrainings.command("start")
@click.argument("deployment")
@click.option("--reason", default="by hand", show_default=True)
@client_options
def start_retraining(client: Client, deployment: str, reason: str) -> None:
    """Retrain a deployment's model now."""
    started = client.retrainings.start(deployment=deployment, reason=reason)
    click.echo(f"{started.id}  {started.state.value}")


@retrainings.command("approve")
@click.argument("retraining_id")
@click.option("--reason", default="")
@client_options
def approve_retraining(client: Client, retraining_id: str, reason: str) -> None:
    """Let a challenger that passed the gate roll out."""
    decided = client.retrainings.approve(id=_retraining_id(client, retraining_id), reason=reason)
    click.echo(f"{decided.id}  {decided.state.value}")


@retrainings.command("reject")
@click.argument("retraining_id")
@click.option("--reason", default="")
@client_options
def reject_retraining(client: Client, retraining_id: str, reason: str) -> None:
    """Keep a challenger that passed the gate from rolling out."""
    decided = client.retrainings.reject(id=_retraining_id(client, retraining_id), reason=reason)
    click.echo(f"{decided.id}  {decided.state.value}")


def _retraining_id(client: Client, given: str) -> str:
    matching = [r.id for r in client.retrainings.list(limit=1000) if r.id.endswith(given)]
    return str(matching[0]) if len(matching) == 1 else given


@click.group()
def events() -> None:
    """Who did what, when and why."""


@events.command("list")
@click.option("--subject", help="Only of this subject, such as deployment/flights.")
@click.option("--kind", help="Only of this kind, such as rollout.promoted.")
@click.option("--limit", default=30, show_default=True)
@as_json
@client_options
def list_events(client: Client, subject: str | None, kind: str | None, limit: int, as_json: bool) -> None:
    """List the newest events."""
    found = client.events.list(subject=subject, kind=kind, limit=limit)
    if as_json:
        return print_json(found)
    rows = [(when(e.time), e.kind, e.subject, e.actor, e.summary) for e in found]
    return print_table(("TIME (UTC)", "KIND", "SUBJECT", "BY", "WHAT"), rows, empty="nothing has happened yet")
