"""`tournant rollouts`."""

from pathlib import Path

import click

from tournant.cli.options import as_json, client_options, long, number, print_json, print_table, say, when
from tournant.domain.deployment import DeploymentConfig
from tournant.domain.rollout import Gate
from tournant.errors import Invalid, NotFound
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
    if found.restored_seconds is not None:
        click.echo(f"  every gateway followed {found.restored_seconds:.2f} s after the verdict")
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


@rollouts.command("simulate")
@click.argument("deployment")
@click.option(
    "--project",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Take the settings from this project's tournant.yaml, which need not be deployed.",
)
@click.option("--requests-per-day", type=float, help="How many there will be.  [default: as in the last seven days]")
@click.option("--entities", default=0, show_default=True, help="With a split by entity: how many there are.")
@click.option("--labelled", default=1.0, show_default=True, help="The share of requests that get a label.")
@click.option("--runs", default=40, show_default=True, help="How many rollouts of each version.")
@click.option("--seed", default=0, show_default=True)
@as_json
@client_options
def simulate_rollouts(
    client: Client,
    deployment: str,
    project: Path | None,
    requests_per_day: float | None,
    entities: int,
    labelled: float,
    runs: int,
    seed: int,
    as_json: bool,
) -> None:
    """Roll synthetic good, bad and borderline versions out under a deployment's settings.

    Nothing is deployed: the versions, their traffic and their labels are dice, judged as real ones are. Tells how each ends,
    and how many requests and labels, and how much time, that takes.
    """
    from tournant.services.simulations import simulate_versions

    config = _settings_of(client, deployment, project)
    daily = requests_per_day or _daily_requests(client, deployment)
    simulated = simulate_versions(
        config,
        requests_per_second=daily / 86_400.0,
        entities=entities,
        labelled=labelled,
        runs=runs,
        seed=seed,
        on_progress=say,
    )
    if as_json:
        return print_json(simulated)
    rows = [
        (
            v.name,
            f"{100 * v.promoted / v.runs:.0f} %",
            f"{100 * v.failed / v.runs:.0f} %",
            f"{100 * v.inconclusive / v.runs:.0f} %",
            f"{v.requests:,.0f}",
            f"{v.labels:,.0f}",
            long(0.0, v.seconds),
            ", ".join(f"{gate} {count}" for gate, count in v.gates.items()),
        )
        for v in simulated
    ]
    columns = ("A VERSION THAT …", "PROMOTED", "FAILED", "UNDECIDED", "REQUESTS", "LABELS", "TOOK", "STOPPED BY")
    say(
        f"at {daily:,.0f} requests a day; medians of {runs} rollouts each; requests are the candidate's, copies included"
    )
    return print_table(columns, rows, empty="no versions")


def _settings_of(client: Client, deployment: str, project: Path | None) -> DeploymentConfig:
    if project is None:
        config: DeploymentConfig = client.deployments.get(name=deployment).deployment.config
        return config
    from tournant.services.projects import load_project

    known = load_project(project, provided=(deployment,)).deployments
    if deployment not in known:
        raise NotFound(f"{project / 'tournant.yaml'} names no deployment {deployment!r} (it has: {', '.join(known)})")
    return known[deployment]


def _daily_requests(client: Client, deployment: str) -> float:
    profiles = client.monitors.get(deployment=deployment, units=7).profiles
    rows = sum(profile.rows for profile in profiles if profile.revision == profiles[-1].revision)
    if not rows:
        raise Invalid(
            f"nothing was counted of {deployment!r} yet: say how many requests there will be: --requests-per-day"
        )
    return float(rows / len({profile.unit_start for profile in profiles}))


@rollouts.command("promote")
@click.argument("rollout")
@click.option("--reason", default="", help="Kept with the decision.")
@click.option("--force", is_flag=True, help="Make it stable at once: without its sample, against a gate, in a freeze.")
@client_options
def promote_rollout(client: Client, rollout: str, reason: str, force: bool) -> None:
    """Move a rollout to its next step now: the approval it waits for, or the end of its hold."""
    _steer(client, "promote", rollout, reason, force=force)


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


def _steer(client: Client, verb: str, rollout: str, reason: str, **how: bool) -> None:
    steered = client.call(f"rollouts.{verb}", id=_rollout_id(client, rollout), reason=reason, **how)
    click.echo(f"{steered.revision}  {steered.phase.value}{'  paused' if steered.paused else ''}  {steered.reason}")


def _rollout_id(client: Client, given: str) -> str:
    if len(given) == 32:
        return given
    newest = client.rollouts.list(limit=1000)
    for rollout in newest:
        if given == rollout.deployment or rollout.id.endswith(given):
            return str(rollout.id)
    raise NotFound(f"there is no rollout or deployment {given!r}; list them: tournant rollouts list")
