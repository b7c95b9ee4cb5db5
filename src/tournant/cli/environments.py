"""`tournant environments`."""

import time
from pathlib import Path

import click

from tournant.cli.options import as_json, local_actor, print_json, print_table, say, when
from tournant.config import Settings
from tournant.domain.environment import packages
from tournant.services.context import Context

_HOME = click.option("--home", envvar="TOURNANT_HOME", help="The home folder.  [default: ./.tournant]")
_DATABASE = click.option(
    "--database", envvar="TOURNANT_DATABASE", help="A postgresql:// URL.  [default: SQLite in the home]"
)


def _open(home: str | None, database: str | None) -> Context:
    from tournant.bootstrap.house import open_context

    return open_context(Settings.load(home=home, database=database), actor=local_actor())


@click.group()
def environments() -> None:
    """Locked environments: a Python version and hashed requirements, built where they are needed."""


@environments.command("list")
@as_json
@_HOME
@_DATABASE
def list_all(as_json: bool, home: str | None, database: str | None) -> None:
    """List the environments on record, and which are built here."""
    from tournant.services.environments import list_environments

    ctx = _open(home, database)
    found, built = list_environments(ctx), ctx.environments.built()
    if as_json:
        return print_json([{"environment": e, "built": built.get(e.digest)} for e in found])
    rows = [
        (
            environment.digest[:12],
            environment.python,
            len(packages(environment.lock)),
            when(environment.created_at),
            f"{here.size_bytes / 1e6:,.0f} MB of its own" if (here := built.get(environment.digest)) else "no",
        )
        for environment in found
    ]
    return print_table(
        ("ENVIRONMENT", "PYTHON", "PACKAGES", "LOCKED (UTC)", "BUILT"), rows, empty="no environments yet: tournant run"
    )


@environments.command("show")
@click.argument("name")
@click.option("--lock", is_flag=True, help="Print the requirements file with its hashes.")
@as_json
@_HOME
@_DATABASE
def show(name: str, lock: bool, as_json: bool, home: str | None, database: str | None) -> None:
    """Show an environment: the first digits of its digest, or a model version that has it."""
    from tournant.services.environments import resolve_environment

    environment = resolve_environment(_open(home, database), name)
    if as_json:
        return print_json(environment)
    if lock:
        return click.echo(environment.lock, nl=False)
    click.echo(f"{environment.digest}  Python {environment.python}  locked {when(environment.created_at)} UTC")
    return print_table(("PACKAGE", "VERSION"), packages(environment.lock).items(), empty="no packages")


@environments.command("build")
@click.argument("name")
@_HOME
@_DATABASE
def build(name: str, home: str | None, database: str | None) -> None:
    """Build an environment, if it is not, and print its interpreter."""
    from tournant.services.environments import resolve_environment

    ctx = _open(home, database)
    started = time.monotonic()
    python = ctx.environments.build(resolve_environment(ctx, name))
    say(f"built in {time.monotonic() - started:.1f} s")
    click.echo(python)


@environments.command("diff")
@click.argument("one")
@click.argument("other")
@as_json
@_HOME
@_DATABASE
def diff(one: str, other: str, as_json: bool, home: str | None, database: str | None) -> None:
    """Show in what packages two environments differ."""
    from tournant.domain.recipe import compare_environments
    from tournant.services.environments import resolve_environment

    ctx = _open(home, database)
    found = list(compare_environments(resolve_environment(ctx, one), resolve_environment(ctx, other)))
    if as_json:
        return print_json(found)
    rows = [(d.name, d.recorded or "–", d.found or "–") for d in found]
    return print_table(("PACKAGE", one, other), rows, empty="they have the same packages")


@environments.command("capture")
@click.argument("source", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--python", default="", help="The Python version, such as 3.11.  [default: that of the source, or tournant's]"
)
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), help="Write the requirements to this file, too."
)
@_HOME
@_DATABASE
def capture(source: Path, python: str, out: Path | None, home: str | None, database: str | None) -> None:
    """Lock what SOURCE states and keep it: a requirements file, pyproject.toml, uv.lock, conda file, or a Python interpreter.

    Of an interpreter (`.venv/bin/python`) it is what is installed there.
    """
    from tournant.services.environments import lock_requirements
    from tournant.services.installed import read_installed
    from tournant.services.requirements import read_requirements

    ctx = _open(home, database)
    if source.name.startswith("python"):
        installed, text = read_installed(ctx, source)
        python = python or installed
    else:
        text = read_requirements(source)
    if out:
        out.write_text(text)
    environment = lock_requirements(ctx, python=python, requirements=text)
    click.echo(f"{environment.digest[:12]}  Python {environment.python}  {len(packages(environment.lock))} packages")


@environments.command("gc")
@click.option("--unused", default="7d", show_default=True, help="Only what was not used for so long (90s, 6h, 7d).")
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@_HOME
@_DATABASE
def gc(unused: str, dry_run: bool, home: str | None, database: str | None) -> None:
    """Take away built environments that no revision in use needs. Their locks stay: each can be built again."""
    from tournant.services.durations import read_duration
    from tournant.services.environments import gc_environments

    gone = gc_environments(_open(home, database), unused_seconds=read_duration(unused), dry_run=dry_run)
    rows = [(digest[:12], f"{b.size_bytes / 1e6:,.0f} MB", when(b.used_at)) for digest, b in gone.items()]
    print_table(("WOULD GO" if dry_run else "GONE", "SIZE", "LAST USED (UTC)"), rows, empty="nothing to take away")
