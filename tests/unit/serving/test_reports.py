"""Reports: every delta is applied exactly once, whatever happens to requests and answers."""

from pathlib import Path

import httpx
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tournant.errors import Unavailable
from tournant.messages.gateway import Delta, GatewayReport, ReportAnswer
from tournant.serving.gateway import Snapshot
from tournant.serving.reports import Reports


class Control:
    """Applies reports as the control plane does; `fate` of each request is delivered, unheard or lost."""

    def __init__(self, applied=0):
        self.applied = applied
        self.requests = 0
        self.barriers = []
        self.fates = []

    def answer(self, request):
        fate = self.fates.pop(0) if self.fates else "delivered"
        if fate == "unheard":
            raise httpx.ConnectError("refused")
        report = msgspec.json.decode(request.content, type=GatewayReport)
        if report.sequence > self.applied:
            self.requests += sum(delta.requests for delta in report.deltas)
            self.applied = report.sequence
        self.barriers.append((report.barrier, self.requests))
        if fate == "lost":
            raise httpx.ReadTimeout("no answer")
        return httpx.Response(200, content=msgspec.json.encode(ReportAnswer(sequence=self.applied)))


class Source:
    """Gives what was counted since the last snapshot."""

    def __init__(self):
        self.waiting = 0

    def snapshot(self):
        waiting, self.waiting = self.waiting, 0
        delta = Delta(deployment="f", revision="f/1", role="stable", requests=waiting)
        return Snapshot(routes_version=1, statuses=(), dropped=0, deltas=(delta,) if waiting else ())


def reports(control, source, unsent=Path("/nonexistent/unsent.json")):
    client = httpx.Client(transport=httpx.MockTransport(control.answer), base_url="http://control")
    return Reports(client, "g", lambda: "http://gateway", source.snapshot, unsent=unsent)


@given(st.lists(st.tuples(st.integers(0, 3), st.lists(st.sampled_from(["delivered", "unheard", "lost"]), max_size=3))))
def test_everything_is_counted_once(rounds):
    """Requests that fail and answers that get lost change nothing; a barrier is claimed only with all before it."""
    control, source = Control(applied=7), Source()
    sending = reports(control, source)
    counted = 0
    for barrier, (requests, fates) in enumerate([*rounds, (0, [])], 1):
        source.waiting += requests
        counted += requests
        control.fates = fates
        try:
            sending.send(barrier)
        except Unavailable:
            control.fates = []
            sending.send(barrier)
        assert control.barriers[-1] == (barrier, counted)
    assert control.requests == counted


def test_a_new_life_carries_the_sequence_on():
    """Counts of a restarted gateway are not taken for a repetition."""
    control, source = Control(applied=1_000), Source()
    source.waiting = 5
    reports(control, source).send(0)
    assert (control.requests, control.applied) == (5, 1_001)


def test_silence_while_there_is_nothing_to_say():
    """A second report follows only with news, or as a heartbeat."""
    control, source = Control(), Source()
    sending = reports(control, source)
    sending.send(0)
    said = len(control.barriers)
    sending.send(0)
    assert len(control.barriers) == said
    sending.send(1)
    assert len(control.barriers) == said + 1


@pytest.mark.parametrize("fate", ["unheard", "lost"])
def test_what_a_stopped_gateway_could_not_send_is_sent_once_by_the_next(tmp_path, fate):
    """Whether the control plane had counted it or not."""
    control, source = Control(), Source()
    first = reports(control, source, tmp_path / "unsent.json")
    first.send(0)
    source.waiting, control.fates = 5, [fate]
    with pytest.raises(Unavailable):
        first.send(0)
    source.waiting = 3
    first.keep()
    reports(control, source, tmp_path / "unsent.json").send(0)
    assert control.requests == 8
    reports(control, source, tmp_path / "unsent.json").send(0)
    assert control.requests == 8
