"""`tournant up`, `down` and `status`."""

import os
import signal
import time

import click

from tournant.cli.options import as_json, client_options, number, print_json, print_table, say, when
from tournant.config import Settings
from tournant.errors import Unavailable
from tournant.sdk.client import Client

STOP_SECONDS = 12.0
PORT = click.IntRange(1, 65535)


@click.command()
@click.option("--home", help="The folder that holds everything.  [default: ./.tournant]")
@click.option("--host", help="Where to listen.  [default: 127.0.0.1; any other address needs a token]")
@click.option("--port", type=PORT, help="The control plane and dashboard.  [default: 5000]")
@click.option("--gateway-host", help="Where the gateway listens.  [default: --host]")
@click.option("--gateway-port", type=PORT, help="The gateway: predictions.  [default: 8080]")
@click.option("--grpc-port", type=PORT, help="The gateway's gRPC.  [default: none; needs the extra grpc]")
@click.option("--gateways", type=click.IntRange(1, 64), help="Gateway processes that share its port.  [default: 1]")
@click.option("--workers", type=click.IntRange(1, 64), help="Processes of each unconverted revision.  [default: 1]")
@click.option("--database", help="A postgresql:// URL.  [default: SQLite in the home]")
def up(home: str | None, host: str | None, gateway_host: str | None, **ports: object) -> None:
    """Run tournant here, in the foreground: control plane, dashboard and gateway. Ctrl-C stops all of it."""
    from tournant.bootstrap.supervisor import Supervisor

    settings = Settings.load(home=home, host=host, gateway_host=gateway_host or host, **ports)
    supervisor = Supervisor(settings, say)
    signal.signal(signal.SIGTERM, supervisor.ask_to_stop)
    signal.signal(signal.SIGINT, supervisor.ask_to_stop)
    try:
        supervisor.start()
        supervisor.wait_ready()
        say(f"dashboard  {supervisor.control_url}\ngateway    {supervisor.gateway_url}\nhome       {settings.home}")
        if supervisor.settings.token:
            say(f"token      in {settings.home / 'token'} (an address that others reach needs one)")
        supervisor.run()
    finally:
        supervisor.stop()


@click.command()
@click.option("--home", help="The home folder.  [default: ./.tournant]")
def down(home: str | None) -> None:
    """Stop the tournant that runs on this home."""
    from tournant.bootstrap.home import read_server

    settings = Settings.load(home=home)
    server = read_server(settings.home)
    if server is None:
        say(f"nothing runs on {settings.home}")
        return
    os.kill(server.pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    while read_server(settings.home):
        if time.monotonic() > deadline:
            raise Unavailable(
                f"process {server.pid} did not stop within {STOP_SECONDS:.0f} s; see {settings.home / 'logs'}"
            )
        time.sleep(0.05)
    say("stopped")


@click.command()
@as_json
@client_options
def status(client: Client, as_json: bool) -> None:
    """Show how everything is: deployments, rollouts, open alerts, retrainings. Exit 1 when an alert is open."""
    found = client.status.get()
    if as_json:
        print_json(found)
    else:
        rows = [
            (
                line.deployment.name,
                line.deployment.stable or "–",
                f"{line.rollout.revision} {line.rollout.phase.value}" if line.rollout else "–",
                "; ".join(f"{a.kind.value} {number(a.value)} (limit {number(a.limit)})" for a in line.open_alerts)
                or "–",
                line.retraining.state.value if line.retraining else "–",
            )
            for line in found.deployments
        ]
        columns = ("DEPLOYMENT", "STABLE", "ROLLING OUT", "OPEN ALERTS", "RETRAINING")
        print_table(columns, rows, empty="nothing is deployed yet: tournant run, then tournant deploy")
        say(
            f"business time {when(found.now)} UTC{' (replay)' if found.replay else ''}; gateways: {len(found.gateways)}"
        )
    if any(line.open_alerts for line in found.deployments):
        raise click.exceptions.Exit(1)
