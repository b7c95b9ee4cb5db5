"""Tables in files."""

import pytest

from tournant.errors import Invalid
from tournant.sdk.tables import read_rows, write_rows


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".ndjson"])
def test_rows_survive_a_round_trip(tmp_path, suffix):
    """What is written is read again, in batches."""
    rows = [{"key": f"k{i}", "value": i / 2} for i in range(25)]
    target = tmp_path / f"table{suffix}"
    assert write_rows(target, iter([rows[:10], rows[10:]]), progress=print) == 25
    assert [row for batch in read_rows(target, size=7) for row in batch] == rows
    assert [path.name for path in tmp_path.iterdir()] == [target.name]


def test_an_unknown_suffix_is_refused(tmp_path):
    """A file that is no table is refused by name, and what would do is named."""
    with pytest.raises(Invalid, match=r"\.csv.*not '\.xls'"):
        list(read_rows(tmp_path / "table.xls"))


def test_none_of_the_columns_is_an_error(tmp_path):
    """A table without any wanted column is refused, naming what it has."""
    path = tmp_path / "table.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(Invalid, match="it has: a, b"):
        list(read_rows(path, columns=("key", "value")))
