"""What counts as a request, and what is said of those that do not."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tournant.domain.registry import Column, ColumnType, Signature
from tournant.errors import Invalid
from tournant.serving.failures import Malformed, ModelFailed
from tournant.serving.schema import ROW_LIMIT, RowSchema

SIGNATURE = Signature(
    inputs=(
        Column(name="carrier name", type=ColumnType.STRING),
        Column(name="temp", type=ColumnType.NUMBER, nullable=True),
        Column(name="seats", type=ColumnType.INTEGER),
        Column(name="night", type=ColumnType.BOOLEAN),
    )
)
GOOD = {"carrier name": "UA", "temp": 20.5, "seats": 100, "night": False}
SCHEMA = RowSchema(SIGNATURE)


def read(inputs, **more):
    return SCHEMA.read(json.dumps({"inputs": inputs, **more}).encode())


def refusal(inputs, **more):
    with pytest.raises(Invalid) as caught:
        read(inputs, **more)
    return caught.value


def test_values_come_in_the_signatures_order():
    """Whatever the order in the body, a missing number stays None."""
    request = read({"night": True, "seats": 3, "temp": None, "carrier name": "UA"}, key=7, event_time="2013-05-01")
    assert SCHEMA.values(SIGNATURE)(request.rows[0]) == ("UA", None, 3, True)
    assert request.keys == ["7"]
    assert request.event_time == 1367366400.0


@pytest.mark.parametrize(
    ("change", "words", "place"),
    [
        ({"temp": "warm"}, "row 0, column 'temp': expected a number or null, found the text 'warm'", "inputs.temp"),
        ({"temp": True}, "found true", "inputs.temp"),
        ({"temp": math.nan}, "found the number NaN", "inputs.temp"),
        ({"temp": -math.inf}, "found the number -Infinity", "inputs.temp"),
        ({"seats": None}, "expected an integer, found null", "inputs.seats"),
        ({"seats": 1.5}, "found the number 1.5", "inputs.seats"),
        ({"seats": 2**70}, "expected an integer", "inputs.seats"),
        ({"night": 1}, "expected true or false", "inputs.night"),
        ({"carrier name": 5}, "expected text, found the number 5", "inputs.carrier name"),
        ({"carrier name": ["UA"]}, "found a list of 1", "inputs.carrier name"),
        ({"gate": 5}, "unknown column 'gate'", "inputs.gate"),
    ],
)
def test_names_row_column_expected_and_found(change, words, place):
    """The message is for people, the place for programs."""
    error = refusal({**GOOD, **change})
    assert words in error.message
    assert error.place == place


def test_names_the_row_of_many():
    """Rows count from 0."""
    assert refusal([GOOD, GOOD, {**GOOD, "seats": "x"}]).place == "inputs[2].seats"
    missing = {name: value for name, value in GOOD.items() if name != "temp"}
    assert "row 1 has no column 'temp'" in refusal([GOOD, missing]).message


@pytest.mark.parametrize("inputs", [5, None, "row", [], [[1, 2]], [GOOD] * (ROW_LIMIT + 1)])
def test_refuses_what_is_no_row(inputs):
    """Wrong shapes and counts are the request's fault."""
    assert refusal(inputs).place.startswith("inputs")


@pytest.mark.parametrize(
    "more", [{"key": ["a"] * 2}, {"key": 1.5}, {"event_time": "soon"}, {"event_time": True}, {"id": 1}]
)
def test_refuses_wrong_company(more):
    """Keys and times are checked as well."""
    assert refusal(GOOD, **more).place.split("[")[0] in ("key", "event_time", "id")


@pytest.mark.parametrize("body", [b"", b"{", b'{"inputs": {},}', b"\xff", b"[" * 100_000, b'{"inputs": "\xff"}'])
def test_malformed_bodies_say_where(body):
    """What is not JSON is another error than what is not a request."""
    with pytest.raises(Malformed):
        SCHEMA.read(body)


@given(st.binary())
def test_any_body_is_read_or_refused(body):
    """Nothing but Invalid ever comes out."""
    with pytest.raises(Invalid):
        SCHEMA.read(body)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["", "UA", "2013-05-01"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*GOOD, "gate"]), inner, max_size=5),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["inputs", "key", "event_time"]), JSON))
def test_any_json_is_read_or_refused(body):
    """Requests that are wrong in any way are refused with a message."""
    try:
        SCHEMA.read(json.dumps(body).encode())
    except Invalid as error:
        assert error.message


def test_a_candidates_new_column_may_be_sent_before_stable_knows_it():
    """The revision that needs it fails without it, alone."""
    newer = Signature(inputs=(*SIGNATURE.inputs, Column(name="gate", type=ColumnType.STRING)))
    schema = RowSchema(SIGNATURE, [newer])
    old = schema.read(json.dumps({"inputs": GOOD}).encode()).rows[0]
    new = schema.read(json.dumps({"inputs": {**GOOD, "gate": "B4"}}).encode()).rows[0]
    assert schema.values(SIGNATURE)(old) == ("UA", 20.5, 100, False)
    assert schema.values(newer)(new)[-1] == "B4"
    with pytest.raises(ModelFailed, match="gate"):
        schema.values(newer)(old)
    with pytest.raises(ModelFailed, match="gate"):
        SCHEMA.values(newer)(read(GOOD).rows[0])
