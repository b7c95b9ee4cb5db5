"""`tournant rollouts`."""

import click

from tournant.cli.options import as_json, client_options, long, number, print_json, print_table, when
from tournant.domain.rollout import Gate
from tournant.errors import NotFound
from tournant.sdk.client import Client


@click.group()
def rollouts() -> None:
    """Rollouts: gates, decisions, and steering by hand."""


@rollouts.command("list")
@click.option("--deployment", help="Only of this deployment.")
@click.option("--limit", default=20, show_default=True)
@as_json
@client_options
def list_rollouts(client: Client, deployment: str | None, limit: int, as_json: bool) -> None:
    """List the newest rollouts with their outcome and why."""
    found = client.rollouts.list(deployment=deployment, limit=limit)
    if as_json:
        return print_json(found)
    rows = [
        (r.id[-7:], r.revision, r.phase.value, when(r.started_at), long(r.started_at, r.ended_at), r.actor, r.reason)
        for r in found
    ]
    return print_table(
        ("ID", "REVISION", "PHASE", "STARTED (UTC)", "TOOK", "BY", "WHY"),
        rows,
        empty="no rollouts yet: tournant deploy",
    )


@rollouts.command("show")
@click.argument("rollout")
@click.option("--gates", is_flag=True, help="Show the gates' numbers only.")
@as_json
@client_options
def show_rollout(client: Client, rollout: str, gates: bool, as_json: bool) -> None:
    """Show a rollout: by id, or a deployment's newest by the deployment's name."""
    details = client.rollouts.get(id=_rollout_id(client, rollout))
    if as_json:
        return print_json(details)
    found = details.rollout
    click.echo(f"{found.revision}  {found.phase.value}  {found.reason}")
    print_table(
        ("GATE", "STABLE", "CANDIDATE", "DIFFERENCE", "INTERVAL", "LIMIT", "SAMPLES", "VERDICT"),
        [_gate(gate) for gate in found.gates],
        empty="no gate has been judged yet",
    )
    if gates:
        return None
    click.echo("")
    rows = [
        (when(d.time), d.phase.value, d.action, f"{d.weight_percent:g} %", d.actor, d.reason) for d in details.decisions
    ]
    return print_table(("TIME (UTC)", "PHASE", "ACTION", "CANARY", "BY", "WHY"), rows, empty="no decision yet")


def _gate(gate: Gate) -> tuple[object, ...]:
    interval = f"{number(gate.lower)} to {number(gate.upper)}" if gate.lower is not None else ""
    samples = f"{gate.samples} of {gate.minimum}" if gate.samples < gate.minimum else gate.samples
    values = (number(gate.stable), number(gate.candidate), number(gate.difference))
    return (gate.name, *values, interval, number(gate.limit), samples, gate.verdict.value)


@rollouts.command("promote")
@click.argument("rollout")
@click.option("--reason", default="", help="Kept with the decision.")
@client_options
def promote_rollout(client: Client, rollout: str, reason: str) -> None:
    """Move a rollout to its next step now."""
    _steer(client, "promote", rollout, reason)


@rollouts.command("pause")
@click.argument("rollout")
@click.option("--reason", default="", help="Kept with the decision.")
@client_options
def pause_rollout(client: Client, rollout: str, reason: str) -> None:
    """Hold a rollout where it is."""
    _steer(client, "pause", rollout, reason)


@rollouts.command("resume")
@click.argument("rollout")
@click.option("--reason", default="", help="Kept with the decision.")
@client_options
def resume_rollout(client: Client, rollout: str, reason: str) -> None:
    """Let a paused rollout go on."""
    _steer(client, "resume", rollout, reason)


@rollouts.command("abort")
@click.argument("rollout")
@click.option("--reason", default="", help="Kept with the decision.")
@client_options
def abort_rollout(client: Client, rollout: str, reason: str) -> None:
    """End a rollout with all traffic on stable."""
    _steer(client, "abort", rollout, reason)


def _steer(client: Client, verb: str, rollout: str, reason: str) -> None:
    steered = client.call(f"rollouts.{verb}", id=_rollout_id(client, rollout), reason=reason)
    click.echo(f"{steered.revision}  {steered.phase.value}{'  paused' if steered.paused else ''}  {steered.reason}")


def _rollout_id(client: Client, given: str) -> str:
    if len(given) == 32:
        return given
    newest = client.rollouts.list(limit=1000)
    for rollout in newest:
        if given == rollout.deployment or rollout.id.endswith(given):
            return str(rollout.id)
    raise NotFound(f"there is no rollout or deployment {given!r}; list them: tournant rollouts list")
