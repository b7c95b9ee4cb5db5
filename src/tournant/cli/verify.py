"""`tournant verify`."""

import sys
from pathlib import Path

import click

from tournant.cli.options import local_actor, number, print_json, print_table, say
from tournant.config import Settings
from tournant.domain.verification import Verdict, Verification


@click.command()
@click.argument("version")
@click.option(
    "--project",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Make it from this folder as it is now, not from the record, and say what of the changes matters.",
)
@click.option("--threads", type=int, help="Run the steps on so many threads, not on those on record.")
@click.option("--tolerance", type=float, default=1e-6, show_default=True, help="Largest difference that is equivalent.")
@click.option("--jobs", default=2, show_default=True, help="Steps at once.")
@click.option("--no-explain", is_flag=True, help="Do not make it again to find the cause of a difference.")
@click.option("--home", envvar="TOURNANT_HOME", help="The home folder.  [default: ./.tournant]")
@click.option("--database", envvar="TOURNANT_DATABASE", help="A postgresql:// URL.  [default: SQLite in the home]")
@click.option("--json", "as_json", is_flag=True, help="Print the verification as JSON.")
def verify(
    version: str,
    project: Path | None,
    threads: int | None,
    tolerance: float,
    jobs: int,
    no_explain: bool,
    home: str | None,
    database: str | None,
    as_json: bool,
) -> None:
    """Recreate VERSION (`flights@3`, `flights@champion`) and compare: identical, equivalent, or different and why.

    Its environment is rebuilt from the lock, code and data are checked out, and the recorded steps run again. Exit code 0 for
    identical and equivalent, 1 for different.
    """
    from tournant.bootstrap.house import open_context
    from tournant.services.verification import verify_version

    ctx = open_context(Settings.load(home=home, database=database), actor=local_actor())
    found = verify_version(
        ctx,
        version,
        project=project,
        threads=threads,
        tolerance=tolerance,
        jobs=jobs,
        explain=not no_explain,
        on_progress=say,
    )
    if as_json:
        print_json(found)
    else:
        print_verification(found)
    sys.exit(1 if found.verdict is Verdict.DIFFERENT else 0)


def print_verification(found: Verification) -> None:
    """Print a verification as people read it."""
    colours = {Verdict.IDENTICAL: "green", Verdict.EQUIVALENT: "green", Verdict.DIFFERENT: "red"}
    click.echo(f"{found.model_version} is {click.style(found.verdict.value, fg=colours[found.verdict], bold=True)}")
    unit = " of the predictions' size" if found.relative else ""
    largest = "a prediction is missing" if found.max_difference is None else number(found.max_difference) + unit
    click.echo(
        f"  predictions   largest difference {largest} on {found.rows:,} rows, tolerance {number(found.tolerance)}"
    )
    names = ", ".join(f"{name} {number(a)} → {number(b)}" for name, (a, b) in found.metrics.items())
    click.echo(f"  metrics       {names or 'the same'}")
    same = sum(a == b for a, b in found.outs.values())
    click.echo(f"  outs          {same} of {len(found.outs)} have the same bytes")
    sure = "" if found.confirmed else "perhaps "
    for title, differences in (("because of", found.causes), ("no matter", found.changed)):
        rows = [(f"{sure if title == 'because of' else ''}{d.cause.value}", d.summary) for d in differences]
        if rows:
            click.echo()
            print_table((title.upper(), ""), rows, empty="")
