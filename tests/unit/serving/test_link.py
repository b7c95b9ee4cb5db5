"""The link to the control plane, at its end."""

import httpx
import pytest

from tournant.serving.link import Link


class Nothing:
    """No uploads, and reports that need the client."""

    def __init__(self, client):
        self.client = client

    def run(self):
        """Upload nothing."""

    def send(self, _flushed):
        """Report."""
        self.client.get("http://127.0.0.1:9/")
        raise RuntimeError("something else")


@pytest.fixture
def say_goodbye(tmp_path):
    """Give what ends the reports, by a client of which that can say."""

    def say(client):
        more = {
            "apply": lambda _table: None,
            "flush": lambda: None,
            "uploads": Nothing(client),
            "reports": Nothing(client),
        }
        Link(client, "g", tmp_path / "routes", **more)._say_goodbye()

    return say


def test_a_client_that_was_closed_meanwhile_ends_the_reports(say_goodbye):
    """Who stops waits for two seconds only, and has kept them by then."""
    client = httpx.Client()
    client.close()
    say_goodbye(client)


def test_another_fault_is_not_hidden(say_goodbye):
    """While the client is open it is no sign of the end."""
    transport = httpx.MockTransport(lambda _request: httpx.Response(200))
    with httpx.Client(transport=transport) as client, pytest.raises(RuntimeError, match="something else"):
        say_goodbye(client)
