"""`tournant import`: whole projects from elsewhere."""

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tournant.cli.data import open_data
from tournant.cli.options import as_json, bytes_text, home_option, local_actor, print_json, say
from tournant.cli.progress import progress, status_line

if TYPE_CHECKING:
    from tournant.ports import Unreadable
    from tournant.services.mlflow_import_report import MlflowImport

__all__ = ["import_"]  # `import` itself is no name that Python could give

_SHOWN = 3  # names of what was left for one reason


@click.group("import")
def import_() -> None:
    """Whole projects from elsewhere."""


@import_.command("dvc")
@click.argument("path", type=click.Path(exists=True, file_okay=False, path_type=Path))
@as_json
@home_option
def import_from_dvc(path: Path, as_json: bool, home: str | None) -> None:
    """Bring in the DVC repository at PATH: all that git knows of its `.dvc` files as dataset versions, its stages as steps.

    Content comes from DVC's cache, else from its default remote. `dvc.yaml` becomes a `tournant.yaml` beside it, unless there is
    one. Nothing of DVC's is changed.
    """
    from tournant.services.dvc_repository import import_dvc

    with progress(f"importing {path}") as told:
        found = import_dvc(open_data(home), path, progress=told)
    if as_json:
        return print_json(found)
    for version in found.versions:
        click.echo(f"{version.id}  {version.files:,} files, {version.size_bytes:,} bytes  {version.source}")
    for missing in found.missing:
        say(f"left out: {missing}")
    if found.project_file:
        click.echo(f"{found.project_file}  steps: {', '.join(found.steps)}")
    return None


@import_.command("mlflow")
@click.argument("source")
@click.option(
    "--artifacts",
    default="",
    help="Where an MLflow server keeps the files that went through it (its --artifacts-destination): a folder or s3://…  "
    "[default: mlartifacts beside the database]",
)
@as_json
@home_option
def import_from_mlflow(source: str, artifacts: str, as_json: bool, home: str | None) -> None:
    """Bring in an MLflow store: experiments, runs, whole metric histories, artifacts, models, versions, aliases.

    SOURCE is a tracking server's URL, an mlruns folder, or MLflow's own database (a SQLite file, sqlite:///FILE,
    postgresql://USER@HOST/NAME). It is only read. Ids and version numbers stay as they are. Interrupted, it goes on where it
    stopped when it is run again; run again later, it brings what is new. What cannot be brought is named at the end.

    A server that wants credentials gets MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN.
    """
    from tournant.bootstrap.house import open_context
    from tournant.bootstrap.mlflow import open_mlflow_source
    from tournant.config import Settings
    from tournant.services.mlflow_import import import_mlflow

    settings = Settings.load(home=home)
    try:
        with open_mlflow_source(settings, source, artifacts=artifacts) as store, status_line("importing") as show:

            def tell(report: "MlflowImport") -> None:
                if show:
                    show(lambda: _counts(report))

            found = import_mlflow(open_context(settings, actor=local_actor()), store, progress=tell)
    except KeyboardInterrupt:
        say("what was brought so far stays; run the same again, and it goes on from there")
        raise
    if as_json:
        return print_json(found)
    click.echo(_counts(found))
    if found.unchanged:
        click.echo(f"{found.unchanged:,} runs, logged models and versions were here already, unchanged")
    for line in _reasons(found.left):
        say(line)
    return None


def _counts(report: "MlflowImport") -> str:
    counts = (
        (report.experiments, "experiment", "s"),
        (report.runs, "run", "s"),
        (report.points, "metric point", "s"),
        (report.datasets, "dataset input", "s"),
        (report.logged_models, "logged model", "s"),
        (report.models, "model", "s"),
        (report.versions, "version", "s"),
        (report.aliases, "alias", "es"),
        (report.files, "file", "s"),
    )
    told = [f"{count:,} {noun}{many if count > 1 else ''}" for count, noun, many in counts if count]
    return f"{', '.join(told)} ({bytes_text(report.size_bytes)})" if told else "nothing new"


def _reasons(left: "Iterable[Unreadable]") -> list[str]:
    """Say what was left, each reason once."""
    names: dict[tuple[str, str], list[str]] = defaultdict(list)
    for each in left:
        names[each.noun, each.reason].append(each.name)
    lines = []
    for (noun, reason), found in names.items():
        more = f" and {len(found) - _SHOWN:,} more" if len(found) > _SHOWN else ""
        lines.append(f"left out: {noun} {', '.join(found[:_SHOWN])}{more}: {reason}")
    return lines
