"""`tournant export-bundle` and `import-bundle`."""

from pathlib import Path

import click

from tournant.cli.options import local_actor, say
from tournant.config import Settings

_HOME = click.option("--home", envvar="TOURNANT_HOME", help="The home folder.  [default: ./.tournant]")
_DATABASE = click.option(
    "--database", envvar="TOURNANT_DATABASE", help="A postgresql:// URL.  [default: SQLite in the home]"
)


@click.command("export-bundle")
@click.argument("version")
@click.argument("target", required=False, type=click.Path(dir_okay=False, path_type=Path))
@_HOME
@_DATABASE
def export_bundle(version: str, target: Path | None, home: str | None, database: str | None) -> None:
    """Write all that it takes to verify VERSION elsewhere into one archive, by default MODEL-NUMBER.bundle.tar.

    Code, data, params, the environment's lock, the model, its proofs, the public keys. Packages are named by version and hash.
    """
    from tournant.bootstrap.house import open_context
    from tournant.services import bundles
    from tournant.services.registry import get_version

    ctx = open_context(Settings.load(home=home, database=database), actor=local_actor())
    found = get_version(ctx, version)
    path = target or Path(f"{found.model}-{found.number}.bundle.tar")
    bundles.export_bundle(ctx, found.id, path)
    say(f"written  {path}  ({path.stat().st_size:,} bytes)")
    click.echo(path)


@click.command("import-bundle")
@click.argument("source", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@_HOME
@_DATABASE
def import_bundle(source: Path, home: str | None, database: str | None) -> None:
    """Take the model version in a bundle into this home. Then: tournant verify MODEL@VERSION.

    Each content is checked against its digest. A signature or statement in it is the exporting home's: check those with its
    public key, which you should have from elsewhere than the bundle.
    """
    from tournant.bootstrap.house import open_context
    from tournant.services import bundles

    ctx = open_context(Settings.load(home=home, database=database), actor=local_actor())
    click.echo(bundles.import_bundle(ctx, source).version.id)
