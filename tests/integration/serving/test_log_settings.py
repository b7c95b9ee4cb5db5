"""What the prediction log keeps: a sample, columns left out, digests of others."""

import pytest

from tournant.messages.routing import LogRoute

KEY = "00" * 16


def log(control, gateway, deployment, revisions, log, rows, **more):
    """Predict rows under log settings, and give what was logged."""
    control.route(deployment(*revisions, log=log, **more), now=500.0)
    control.wait_applied()
    for row in rows:
        assert gateway.predict(inputs=row)[0] == 200
    control.barrier(86_400.0)
    return control.rows()


def test_a_column_left_out_is_nowhere(control, gateway, converted, deployment, tmp_path):
    """Neither as an input nor as the entity, neither in segments nor in the spool; the split still goes by it."""
    rows = [{"plane": "secret-1", "x": 0.25}, {"plane": "secret-1", "x": 0.5}, {"plane": "secret-2", "x": 0.75}]
    kept = log(control, gateway, deployment, [converted(1)], LogRoute(drop=("plane",), key=KEY), rows)
    assert [row["in.x"] for row in kept] == [0.25, 0.5, 0.75]
    assert "in.plane" not in kept[0]
    first, second, third = (row["entity"] for row in kept)
    assert first == second != third
    assert not any(b"secret" in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_a_hashed_column_can_be_counted_but_not_read(control, gateway, converted, deployment):
    """Equal values have equal digests, and another key gives other digests."""
    rows = [{"plane": "N1", "x": 0.25}, {"plane": "N2", "x": 0.25}, {"plane": "N1", "x": 0.5}]
    hidden = LogRoute(hash=("plane", "x"), key=KEY)
    one = log(control, gateway, deployment, [converted(1)], hidden, rows)
    assert one[0]["in.plane"] == one[2]["in.plane"] != one[1]["in.plane"]
    assert one[0]["in.x"] == one[1]["in.x"] != one[2]["in.x"]
    assert one[0]["entity"] == one[0]["in.plane"]
    assert len(one[0]["in.plane"]) == 32
    other = LogRoute(hash=("plane", "x"), key="11" * 16)
    both = log(control, gateway, deployment, [converted(1)], other, rows)
    assert not {row["in.plane"] for row in one} & {row["in.plane"] for row in both[len(one) :]}


@pytest.mark.parametrize("sample", [0.25, 1.0])
def test_a_sample_has_whole_predictions(control, gateway, converted, deployment, sample):
    """Of a prediction there is the answered row and its shadow's, or neither; counts are of all requests."""
    one, two = converted(1, 0.5), converted(2, 0.25)
    rows = [{"plane": f"N{i}", "x": 1.0} for i in range(400)]
    kept = log(control, gateway, deployment, [one, two], LogRoute(sample=sample), rows, shadows=(two.id,))
    stable = {row["prediction_id"] for row in kept if row["role"] == "stable"}
    shadow = {row["prediction_id"] for row in kept if row["role"] == "shadow"}
    assert stable == shadow
    assert abs(len(stable) - 400 * sample) <= 5 * (400 * sample * (1 - sample)) ** 0.5
    assert control.total("flights/1", "stable", "requests") == 400
    assert control.total("flights/2", "shadow", "pairs") == 400
