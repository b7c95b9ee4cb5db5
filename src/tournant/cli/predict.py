"""`tournant predict`."""

from pathlib import Path
from typing import Any

import click
import msgspec

from tournant.cli.options import client_options, print_json, say
from tournant.errors import Invalid, Unavailable
from tournant.sdk.client import Client


@click.command()
@click.argument("deployment")
@click.argument("inputs", required=False)
@click.option("--key", help="Your own key for the request, to give its label by later.")
@click.option(
    "--batch",
    nargs=2,
    type=click.Path(path_type=Path),
    metavar="IN OUT",
    help="Predict a whole CSV, Parquet or NDJSON file.",
)
@click.option(
    "--gateway-url", envvar="TOURNANT_GATEWAY_URL", help="The gateway.  [default: the one that runs on --home]"
)
@client_options
def predict(
    client: Client,
    deployment: str,
    inputs: str | None,
    key: str | None,
    batch: tuple[Path, Path] | None,
    gateway_url: str | None,
) -> None:
    """Ask DEPLOYMENT for a prediction on INPUTS (JSON, an object of columns or a list of them), or on a file.

    Without INPUTS the stable revision's own input example is used.
    """
    from tournant.sdk.predictions import Predictions

    params = click.get_current_context().params
    predictions = Predictions(
        gateway_url or _gateway_url(params.get("home")), token=params.get("token") or _token(params.get("home"))
    )
    if batch:
        return _score(client, predictions, deployment, *batch)
    rows = _decode(inputs) if inputs else [_stable(client, deployment).example[0]]
    return print_json(predictions.predict(deployment, rows, key=key))


def _score(client: Client, predictions: Any, deployment: str, source: Path, target: Path) -> None:
    from tournant.sdk.predictions import score_file
    from tournant.sdk.tables import write_rows

    columns = [column.name for column in _stable(client, deployment).signature.inputs]
    written = write_rows(target, score_file(predictions, deployment, source, columns), progress=say)
    say(f"{written:,} rows predicted into {target}")


def _stable(client: Client, deployment: str) -> Any:
    details = client.deployments.get(name=deployment)
    stable = next((r for r in details.revisions if r.id == details.deployment.stable), None)
    if stable is None:
        raise Unavailable(
            f"deployment {deployment!r} has no stable revision yet; see: tournant rollouts show {deployment}"
        )
    return client.models.version(id=stable.model_version)


def _decode(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError as exc:
        raise Invalid(f"INPUTS is not JSON: {exc}") from exc


def _gateway_url(home: str | None) -> str:
    from tournant.bootstrap.home import read_server
    from tournant.config import Settings

    settings = Settings.load(home=home)
    server = read_server(settings.home)
    if server is None:
        raise Unavailable(f"nothing runs on {settings.home}. Start it: tournant up (or name a gateway: --gateway-url)")
    return server.gateway_url


def _token(home: str | None) -> str:
    from tournant.bootstrap.home import ensure_token
    from tournant.config import Settings

    return ensure_token(Settings.load(home=home)).token
