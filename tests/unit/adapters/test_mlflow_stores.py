"""How MLflow's stores are read: values, addresses, files block by block."""

import doctest
from collections.abc import Iterator
from pathlib import Path

import pytest

from tournant.adapters.mlflow import locations, values
from tournant.adapters.mlflow.locations import BlockReader, Locations
from tournant.errors import Invalid, NotFound
from tournant.ports import Place
from tournant.services import mlflow_import_report


@pytest.mark.parametrize("module", [values, locations, mlflow_import_report])
def test_the_examples_in_docstrings_hold(module: object) -> None:
    """Each example gives what it says."""
    result = doctest.testmod(module)  # type: ignore[arg-type]
    assert result.attempted and not result.failed


@pytest.mark.parametrize("size", [1, 3, 7, 100])
def test_blocks_are_read_in_any_size(size: int) -> None:
    """Every byte once, in order; then nothing."""
    reader = BlockReader(iter([b"abc", b"", b"defgh", b"i"]))
    read = b""
    while part := reader.read(size):
        assert len(part) <= size
        read += part
    assert (read, reader.read(size)) == (b"abcdefghi", b"")
    assert BlockReader(iter([b"ab", b"c"])).read() == b"abc"


def test_a_file_is_not_read_before_it_is_asked_for() -> None:
    """Blocks come one by one: a large file is never in memory."""
    given = []

    def blocks() -> Iterator[bytes]:
        for number in range(3):
            given.append(number)
            yield bytes(10)

    BlockReader(blocks()).read(4)
    assert given == [0]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Give a folder with an `mlruns` and an `mlartifacts`."""
    for name in ("mlruns", "mlartifacts"):
        place = tmp_path / "project" / name / "1" / "r" / "artifacts" / "deep"
        place.mkdir(parents=True)
        (place / f"{name} ü.txt").write_text(name)
    return tmp_path / "project"


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("{store}/mlruns/1/r/artifacts", "deep/mlruns ü.txt"),
        ("file://{store}/mlruns/1/r/artifacts/", "deep/mlruns ü.txt"),
        ("./mlruns/1/r/artifacts", "deep/mlruns ü.txt"),
        ("/moved/from/mlruns/1/r/artifacts", "deep/mlruns ü.txt"),
        ("file:///moved/mlruns/1/r/artifacts", "deep/mlruns ü.txt"),
        ("mlflow-artifacts:/1/r/artifacts", "deep/mlartifacts ü.txt"),
        ("mlflow-artifacts://host:5000/1/r/artifacts", "deep/mlartifacts ü.txt"),
    ],
)
def test_folders_are_found_where_they_are_now(store: Path, uri: str, path: str) -> None:
    """Absolute, relative, as a URL, moved since, or behind the proxy of a server that is gone."""
    place, found = Place(uri=uri.format(store=store)), Locations({}, base=store)
    name = path.removeprefix("deep/").partition(" ")[0]
    assert [(file.path, file.size_bytes) for file in found.list(place)] == [(path, len(name))]
    with found.open(place, path) as content:
        assert content.read(100).decode() == name


def test_where_nothing_was_put_there_is_nothing(store: Path) -> None:
    """A run without files has no folder; a store that is elsewhere is another matter."""
    found = Locations({}, base=store)
    assert found.list(Place(uri=f"{store}/mlruns/1/other/artifacts")) == []
    with pytest.raises(NotFound, match="no folder /nowhere"):
        found.list(Place(uri="/nowhere/at/all/1/r/artifacts"))
    with (
        pytest.raises(NotFound, match="there is no file"),
        found.open(Place(uri="./mlruns/1/r/artifacts"), "x") as file,
    ):
        file.read(1)


@pytest.mark.parametrize("uri", ["hdfs://cluster/x", "dbfs:/x", "ftp://host/x", "models:/churn/3"])
def test_other_addresses_are_refused(store: Path, uri: str) -> None:
    """With their kind named."""
    with pytest.raises((Invalid, NotFound), match=uri.partition(":")[0]):
        Locations({}, base=store).list(Place(uri=uri))


def test_a_proxy_without_its_folder_asks_for_it(tmp_path: Path) -> None:
    """By the option that names it."""
    with pytest.raises(NotFound, match="--artifacts"):
        Locations({}, base=tmp_path).list(Place(uri="mlflow-artifacts:/1/r/artifacts"))
