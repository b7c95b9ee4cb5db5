"""`tournant.open_dataset`: paths, bytes and tables, from this machine and from a remote."""

import random
import shutil
from pathlib import Path

import duckdb
import pytest

import tournant
from tournant.bootstrap.datasets import open_data_context
from tournant.config import Settings
from tournant.domain.data import DatasetVersion
from tournant.errors import Invalid, NotFound
from tournant.services.data import add_dataset_version
from tournant.services.remotes import add_remote, push_datasets


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Give a home with a dataset of tables and a large file, pushed to a folder, and emptied of its content."""
    folder = tmp_path / "in"
    (folder / "rows").mkdir(parents=True)
    for number in range(3):
        duckdb.sql(f"copy (select {number} as part, range as x from range(1000)) to '{folder}/rows/{number}.parquet'")
    (folder / "noise.bin").write_bytes(random.Random(1).randbytes(5_000_000))
    ctx = open_data_context(Settings.load(home=tmp_path / "home"))
    add_dataset_version(ctx, "flights", folder)
    remote = add_remote(ctx, "origin", str(tmp_path / "remote"), project="p")
    push_datasets(ctx, remote, ())
    return tmp_path / "home"


def empty(home: Path) -> None:
    shutil.rmtree(home / "blobs")


@pytest.mark.parametrize("here", [True, False])
def test_a_dataset_is_files_bytes_and_a_table(home: Path, tmp_path: Path, here: bool) -> None:
    """With its content on this machine or at a remote only."""
    if not here:
        empty(home)
    flights = tournant.open_dataset("flights@1", home=home)
    assert flights.files == ("noise.bin", "rows/0.parquet", "rows/1.parquet", "rows/2.parquet")
    noise = (tmp_path / "in" / "noise.bin").read_bytes()
    assert flights.read_bytes("noise.bin") == noise
    assert flights.path("noise.bin").read_bytes() == noise
    assert flights.table("rows").aggregate("count(*), sum(part)").fetchall() == [(3000, 3000)]
    assert flights.table("rows/1.parquet").aggregate("max(part)").fetchall() == [(1,)]


def test_reading_a_little_fetches_a_little(home: Path, tmp_path: Path) -> None:
    """A seek into a large file gets the chunks there and nothing else; nothing is kept."""
    empty(home)
    flights = tournant.open_dataset("flights", home=home)
    remote = flights._remote
    before = remote.bucket.requests  # type: ignore[union-attr]
    with flights.open("noise.bin") as stream:
        stream.seek(4_000_000)
        assert stream.read(1000) == (tmp_path / "in" / "noise.bin").read_bytes()[4_000_000:4_001_000]
    assert remote.bucket.requests - before <= 6  # type: ignore[union-attr]
    assert sum(path.stat().st_size for path in (home / "blobs").rglob("*.pack")) < 100_000


def test_a_version_this_home_never_saw_is_found_at_the_remote(home: Path) -> None:
    """By id and by the dataset's name."""
    ctx = open_data_context(Settings.load(home=home))
    with ctx.transactions.begin() as uow:
        uow.remove(DatasetVersion, id="flights@1")
    assert tournant.open_dataset("flights", home=home).version.id == "flights@1"
    with pytest.raises(NotFound, match="flights@2"):
        tournant.open_dataset("flights@2", home=home)


def test_what_is_no_table_or_file_is_said(home: Path) -> None:
    """Which kinds there are, and which files."""
    flights = tournant.open_dataset("flights", home=home)
    with pytest.raises(Invalid, match=r"not \.bin, \.parquet"):
        flights.table()
    with pytest.raises(NotFound, match=r"no file 'x' \(it has 4: noise\.bin"):
        flights.open("x")
