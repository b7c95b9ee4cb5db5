"""`tournant models`."""

from collections.abc import Iterator

import click

from tournant.cli.options import Command, as_json, client_options, number, print_json, print_table, say, when
from tournant.domain.registry import AliasMove, AliasMoveState
from tournant.sdk.client import Client
from tournant.services.production import Tenure


def _about_alias(command: Command) -> Command:
    """Give a command the model and the alias that it is about, and a reason."""
    for option in (
        client_options,
        as_json,
        click.option("--reason", default="", help="Kept with the move."),
        click.argument("alias"),
        click.argument("name"),
    ):
        command = option(command)
    return command


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
    if as_json:
        return print_json(client.models.get(name=name))
    rows = [
        (
            s.version.id,
            when(s.version.created_at),
            s.version.flavor,
            s.version.conversion.status.value,
            number(s.version.conversion.max_difference),
            ", ".join(s.version.datasets),
            ", ".join(f"{r.id} {r.state.value}" for r in s.revisions),
            s.verification.verdict.value if s.verification else "",
        )
        for s in client.models.versions(name=name)
    ]
    columns = ("VERSION", "MADE (UTC)", "FLAVOR", "CONVERSION", "PARITY", "DATA", "DEPLOYED AS", "VERIFIED")
    return print_table(columns, rows, empty="no versions")


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
    for tenure in client.models.history(name=version.model).tenures:
        if tenure.model_version == version.id:
            click.echo(f"  {_tenure(tenure)}")
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


def _tenure(tenure: Tenure) -> str:
    """Say in a line when a revision was stable."""
    after = f", then {tenure.followed_by} ({tenure.followed_by_version})" if tenure.followed_by else ""
    until = f"until {when(tenure.until)}" if tenure.until is not None else "until now"
    return f"stable in {tenure.deployment} as {tenure.revision} since {when(tenure.since)} UTC {until}{after}"


@models.command("history")
@click.argument("name")
@as_json
@client_options
def model_history(client: Client, name: str, as_json: bool) -> None:
    """Show what of the model NAME ran in production, when, what came after it, and every move of its aliases."""
    found = client.models.history(name=name)
    if as_json:
        return print_json(found)
    print_table(
        ("VERSION", "DEPLOYMENT", "REVISION", "SINCE (UTC)", "UNTIL (UTC)", "THEN"),
        [
            (t.model_version, t.deployment, t.revision, when(t.since), when(t.until) or "now", t.followed_by_version)
            for t in found.tenures
        ],
        empty="no version of it has answered requests yet",
    )
    click.echo()
    return print_table(
        ("ALIAS", "VERSION", "BEFORE", "STATE", "ASKED (UTC)", "BY", "REASON", "DECIDED BY", "DECISION"),
        [
            (m.alias, m.version, m.before, m.state.value, when(m.asked_at), m.actor, m.reason, m.decided_by, m.decision)
            for m in found.moves
        ],
        empty=f"no alias was ever moved: tournant models alias {name} champion VERSION",
    )


@models.command("alias")
@click.argument("name")
@click.argument("alias")
@click.argument("version", type=int)
@click.option("--reason", default="", help="Kept with the move.")
@as_json
@client_options
def alias_model(client: Client, name: str, alias: str, version: int, reason: str, as_json: bool) -> None:
    """Let ALIAS name VERSION of the model NAME; who moved it, when and why stays on record.

    A protected alias waits for somebody else's approval.
    """
    _tell(client.models.alias(name=name, alias=alias, version=version, reason=reason), as_json)


@models.command("unalias")
@_about_alias
def unalias_model(client: Client, name: str, alias: str, reason: str, as_json: bool) -> None:
    """Take ALIAS away from the model NAME."""
    move = client.models.unalias(name=name, alias=alias, reason=reason)
    if move or as_json:
        return _tell(move, as_json)
    return say(f"{name} has no alias {alias}")


@models.command("approve")
@_about_alias
def approve_alias(client: Client, name: str, alias: str, reason: str, as_json: bool) -> None:
    """Make the move of ALIAS that waits for an approval; whoever asked for it cannot."""
    _tell(client.models.approve(name=name, alias=alias, reason=reason), as_json)


@models.command("decline")
@_about_alias
def decline_alias(client: Client, name: str, alias: str, reason: str, as_json: bool) -> None:
    """Refuse the move of ALIAS that waits for an approval."""
    _tell(client.models.decline(name=name, alias=alias, reason=reason), as_json)


@models.command("protect")
@click.argument("name")
@click.argument("aliases", nargs=-1)
@as_json
@client_options
def protect_aliases(client: Client, name: str, aliases: tuple[str, ...], as_json: bool) -> None:
    """Let ALIASES of the model NAME move only after an approval, and no others (none are named: no alias)."""
    model = client.models.protect(name=name, aliases=list(aliases))
    if as_json:
        return print_json(model)
    return click.echo(f"aliases of {name} that take an approval: {', '.join(model.protected) or 'none'}")


def _tell(move: AliasMove | None, as_json: bool) -> None:
    if as_json:
        return print_json(move)
    assert move
    hint = (
        f". Somebody else has to agree: tournant models approve {move.model} {move.alias}"
        if move.state is AliasMoveState.WAITING
        else ""
    )
    return click.echo(f"{move.summary}{hint}")
