"""`tournant notify`."""

import click

from tournant.cli.options import as_json, client_options, print_json, print_table, say
from tournant.sdk.client import Client


@click.group()
def notify() -> None:
    """How people are told: e-mail, Slack, webhooks and the log."""


@notify.command("test")
@as_json
@client_options
def test_notifiers(client: Client, as_json: bool) -> None:
    """Send a test message through every notifier, and say which took it. Exit 1 when one did not."""
    found = client.notifiers.test()
    if as_json:
        print_json(found)
    else:
        rows = [(test.notifier, "failed" if test.problem else "delivered", test.problem) for test in found]
        print_table(("NOTIFIER", "TEST", "WHY"), rows, empty="no notifier")
        if [test.notifier for test in found] == ["log"]:
            say("only the log is told. Set TOURNANT_NOTIFY or TOURNANT_WEBHOOKS where tournant up runs")
    if any(test.problem for test in found):
        raise click.exceptions.Exit(1)
