"""`tournant deployments`."""

import click

from tournant.cli.options import as_json, client_options, print_json, print_table, when
from tournant.sdk.client import Client


@click.group()
def deployments() -> None:
    """Deployments, their revisions, rollback and permanent shadows."""


@deployments.command("list")
@as_json
@client_options
def list_deployments(client: Client, as_json: bool) -> None:
    """List deployments."""
    found = client.deployments.list()
    if as_json:
        return print_json(found)
    rows = [(d.name, d.stable or "–", f"{d.config.slo_p99_ms:g} ms", when(d.created_at)) for d in found]
    return print_table(
        ("DEPLOYMENT", "STABLE", "P99 SLO", "SINCE (UTC)"), rows, empty="no deployments yet: tournant deploy"
    )


@deployments.command("show")
@click.argument("name")
@as_json
@client_options
def show_deployment(client: Client, name: str, as_json: bool) -> None:
    """Show a deployment with its revisions."""
    details = client.deployments.get(name=name)
    if as_json:
        return print_json(details)
    deployment = details.deployment
    click.echo(f"{deployment.name}  stable {deployment.stable or '–'}  shadows {', '.join(deployment.shadows) or '–'}")
    if details.rollout:
        click.echo(f"  rolling out {details.rollout.revision}: {details.rollout.phase.value}. {details.rollout.reason}")
    rows = [(r.id, r.model_version, r.state.value, when(r.created_at), r.actor, r.reason) for r in details.revisions]
    return print_table(("REVISION", "MODEL", "STATE", "MADE (UTC)", "BY", "WHY"), rows, empty="no revisions")


@deployments.command("rollback")
@click.argument("name")
@click.option("--to", "revision", help="The revision to return to.  [default: the stable one before]")
@click.option("--reason", default="", help="Kept with the event.")
@client_options
def roll_back(client: Client, name: str, revision: str | None, reason: str) -> None:
    """Return to an earlier revision at once."""
    deployment = client.deployments.rollback(name=name, revision=revision, reason=reason)
    click.echo(f"{deployment.name} answers with {deployment.stable} again")


@deployments.command("shadows")
@click.argument("name")
@click.argument("revisions", nargs=-1)
@client_options
def set_shadows(client: Client, name: str, revisions: tuple[str, ...]) -> None:
    """Let REVISIONS (none: no more) shadow every request for good."""
    deployment = client.deployments.shadows(name=name, revisions=revisions)
    click.echo(f"{deployment.name} is shadowed by {', '.join(deployment.shadows) or 'nothing'}")
