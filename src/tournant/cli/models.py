"""`tournant models`."""

from collections.abc import Iterator

import click

from tournant.cli.options import as_json, client_options, number, print_json, print_table, when
from tournant.sdk.client import Client


@click.group()
def models() -> None:
    """Registered models, their versions and aliases."""


@models.command("list")
@as_json
@client_options
def list_models(client: Client, as_json: bool) -> None:
    """List registered models."""
    found = client.models.list()
    if as_json:
        return print_json(found)
    rows = [
        (
            m.model.name,
            m.versions,
            m.newest.id if m.newest else "",
            ", ".join(f"{a.alias} → {a.version}" for a in m.aliases),
        )
        for m in found
    ]
    return print_table(("MODEL", "VERSIONS", "NEWEST", "ALIASES"), rows, empty="no models yet: tournant run")


@models.command("show")
@click.argument("name")
@as_json
@client_options
def show_model(client: Client, name: str, as_json: bool) -> None:
    """Show a model (`flights`) or one version of it (`flights@2`, `flights@champion`)."""
    if "@" in name:
        return _show_version(client, name, as_json)
    details = client.models.get(name=name)
    if as_json:
        return print_json(details)
    rows = [
        (
            v.id,
            when(v.created_at),
            v.flavor,
            v.conversion.status.value,
            number(v.conversion.max_difference),
            ", ".join(v.datasets),
        )
        for v in details.versions
    ]
    return print_table(("VERSION", "MADE (UTC)", "FLAVOR", "CONVERSION", "PARITY", "DATA"), rows, empty="no versions")


def _show_version(client: Client, name: str, as_json: bool) -> None:
    version = client.models.version(id=name)
    if as_json:
        return print_json(version)
    click.echo(f"{version.id}  {version.flavor}  made {when(version.created_at)} UTC by {version.actor}")
    click.echo(
        f"  run {version.run[-7:] or '–'}   data {', '.join(version.datasets) or '–'}   code {version.code[:7] or '–'}"
    )
    click.echo(f"  environment {version.environment[:7] or '–'}   commit {version.commit[:7] or '–'}")
    click.echo(f"  conversion {version.conversion.summary}")
    for line in _proofs(client, version.id):
        click.echo(f"  {line}")
    for key, value in version.metrics.items():
        click.echo(f"  metric  {key} = {value:.6g}")
    columns = [(c.name, c.type.value, "yes" if c.nullable else "") for c in version.signature.inputs]
    return print_table(("INPUT", "TYPE", "MAY BE MISSING"), columns, empty="no inputs")


def _proofs(client: Client, version: str) -> Iterator[str]:
    """Say what proves a version, and what does not."""
    proofs = client.models.proofs(id=version)
    newest = next((found for found in proofs.verifications if found.from_record), None)
    if newest:
        yield f"verified {when(newest.ended_at)} UTC: {newest.summary}"
    if proofs.signature:
        yield f"signed {when(proofs.signature.signed_at)} UTC by {proofs.signature.actor} (key {proofs.signature.key[:12]})"


@models.command("alias")
@click.argument("name")
@click.argument("alias")
@click.argument("version", type=int)
@click.option("--reason", default="", help="Kept with the move.")
@client_options
def alias_model(client: Client, name: str, alias: str, version: int, reason: str) -> None:
    """Let ALIAS name VERSION of the model NAME; who moved it, when and why stays on record."""
    moved = client.models.alias(name=name, alias=alias, version=version, reason=reason)
    click.echo(f"{moved.model}@{moved.alias} is now version {moved.version}")
