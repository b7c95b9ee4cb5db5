"""`tournant labels`."""

from dataclasses import asdict
from pathlib import Path

import click

from tournant.cli.options import client_options
from tournant.errors import Invalid
from tournant.sdk.client import Client

BATCH = 10_000


@click.group()
def labels() -> None:
    """Say what really happened, by prediction id or by your own key."""


@labels.command("add")
@click.argument("deployment")
@click.argument("value", type=float)
@click.option("--id", "prediction_id", help="The prediction's id.")
@click.option("--key", help="Your own key, as sent with the request.")
@client_options
def add_label(client: Client, deployment: str, value: float, prediction_id: str | None, key: str | None) -> None:
    """Give one label."""
    if bool(prediction_id) == bool(key):
        raise Invalid("say which prediction: either --id or --key")
    label = {"value": value, "prediction_id": prediction_id, "key": key}
    client.labels.add(deployment=deployment, labels=[{k: v for k, v in label.items() if v is not None}])
    click.echo("accepted 1 label")


@labels.command("import")
@click.argument("deployment")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@client_options
def import_labels(client: Client, deployment: str, file: Path) -> None:
    """Give the labels of FILE: CSV, Parquet or NDJSON.

    Columns: prediction_id or key; value, label or the deployment's own label column; maybe event_time (seconds or ISO 8601).
    """
    from tournant.services.label_files import read_label_file

    column = client.deployments.get(name=deployment).deployment.config.labels.column
    given = read_label_file(file, column)
    for start in range(0, len(given), BATCH):
        rows = [{k: v for k, v in asdict(label).items() if v is not None} for label in given[start : start + BATCH]]
        client.labels.add(deployment=deployment, labels=rows)
    click.echo(f"accepted {len(given):,} labels")
