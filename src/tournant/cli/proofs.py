"""`tournant models sign | verify-signature | statement`: proofs of a version, made and checked on the home itself."""

import json
import sys
from pathlib import Path

import click

from tournant.cli.models import models
from tournant.cli.options import local_actor, print_json, when
from tournant.config import Settings
from tournant.errors import NotFound
from tournant.services.context import Context

home_option = click.option("--home", envvar="TOURNANT_HOME", help="The home folder.  [default: ./.tournant]")
database_option = click.option(
    "--database", envvar="TOURNANT_DATABASE", help="A postgresql:// URL.  [default: SQLite in the home]"
)
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


def _open(home: str | None, database: str | None) -> Context:
    from tournant.bootstrap.house import open_context

    return open_context(Settings.load(home=home, database=database), actor=local_actor())


@models.command("sign")
@click.argument("version")
@click.option("--key", type=_FILE, help="A private key in PEM (P-256, P-384, P-521).  [default: the home's]")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Write the signature to this file, too.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@home_option
@database_option
def sign_model(
    version: str, key: Path | None, out: Path | None, as_json: bool, home: str | None, database: str | None
) -> None:
    """Sign VERSION's files in the OpenSSF model-signing format, and keep the signature with it.

    The home's own key is keys/models.pem, its public half keys/models.pub: give that to whoever shall check.
    """
    from tournant.services.signing import sign_version

    ctx = _open(home, database)
    signature = sign_version(ctx, version, key=key)
    if out:
        out.write_bytes(ctx.blobs.path(signature.bundle).read_bytes())
    if as_json:
        return print_json(signature)
    return click.echo(f"{signature.model_version} is signed with the key {signature.key[:12]}")


@models.command("verify-signature")
@click.argument("version")
@click.option("--key", type=_FILE, help="The public key in PEM that should have signed.  [default: the home's]")
@click.option("--signature", type=_FILE, help="A signature in a file.  [default: that kept with the version]")
@click.option(
    "--folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Check the files in this folder.  [default: those in the content store]",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@home_option
@database_option
def verify_signature(
    version: str,
    key: Path | None,
    signature: Path | None,
    folder: Path | None,
    as_json: bool,
    home: str | None,
    database: str | None,
) -> None:
    """Check that VERSION's files are those that were signed; exit code 1 if they are not."""
    from tournant.services.signing import check_signature

    check = check_signature(
        _open(home, database),
        version,
        public=key.read_bytes() if key else None,
        bundle=signature.read_bytes() if signature else None,
        folder=folder,
    )
    if as_json:
        print_json(check)
    elif check.holds:
        signed = f", signed {when(check.signed_at)} UTC" if check.signed_at and not signature else ""
        click.echo(f"{check.model_version}: the signature holds (key {check.key[:12]}{signed})")
    else:
        click.echo(f"{check.model_version}: the signature does not hold: {'; '.join(check.problems)}")
    sys.exit(0 if check.holds else 1)


@models.command("statement")
@click.argument("version")
@click.option("--envelope", is_flag=True, help="Print the signed DSSE envelope instead of the statement in it.")
@click.option("--json", "_as_json", is_flag=True, help="As in any case: a statement is JSON.")
@home_option
@database_option
def show_statement(version: str, envelope: bool, _as_json: bool, home: str | None, database: str | None) -> None:
    """Print the signed in-toto statement of VERSION's newest verification; exit code 1 if its signature does not hold."""
    from tournant.services.registry import get_version
    from tournant.services.signing import check_statement
    from tournant.services.verification import list_verifications

    ctx = _open(home, database)
    found = get_version(ctx, version)
    verifications = [v for v in list_verifications(ctx, found.id) if v.statement and v.from_record]
    if not verifications:
        raise NotFound(f"{found.id} was never verified. Verify it: tournant verify {found.id}")
    statement = check_statement(ctx, verifications[0])
    kept = json.loads(ctx.blobs.path(verifications[0].statement).read_bytes())
    if statement is None:
        click.echo(f"{found.id}: the statement was not signed with this home's key, or was changed since", err=True)
    print_json(kept if envelope or statement is None else statement)
    sys.exit(0 if statement else 1)
