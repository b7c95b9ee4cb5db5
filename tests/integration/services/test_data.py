"""Datasets in a real content store."""

import threading
from pathlib import Path

import pytest

from tournant.domain.control import Event
from tournant.domain.data import DatasetVersion
from tournant.errors import NotFound
from tournant.services.context import Context
from tournant.services.data import (
    add_dataset_version,
    checkout_dataset_version,
    get_dataset_version,
    list_dataset_versions,
    list_datasets,
)


def test_the_same_content_is_the_same_version(context: Context, tmp_path: Path) -> None:
    """Adding what is the newest version already adds nothing; going back to older content does."""
    path = tmp_path / "rows.csv"
    numbers = []
    for text in ("a", "a", "b", "a"):
        path.write_text(text)
        numbers.append(add_dataset_version(context, "rows", path).number)
    assert numbers == [1, 1, 2, 3]
    assert [version.id for version in list_dataset_versions(context, "rows")] == ["rows@3", "rows@2", "rows@1"]
    assert [dataset.name for dataset in list_datasets(context)] == ["rows"]
    with context.transactions.begin(write=False) as uow:
        assert uow.count(Event, kind="dataset.version_added") == 3


def test_a_version_comes_back_as_it_was(context: Context, tmp_path: Path) -> None:
    """A folder with all its files, by version id or the dataset's name for the newest."""
    source = tmp_path / "images"
    (source / "deep").mkdir(parents=True)
    (source / "deep" / "1.bin").write_bytes(b"\x00\x01")
    first = add_dataset_version(context, "images", source, source="camera", details={"angle": 3.0})
    assert (first.files, first.size_bytes, first.source, first.details) == (1, 2, "camera", {"angle": 3.0})
    (source / "2.bin").write_bytes(b"\x02")
    add_dataset_version(context, "images", source)
    target = tmp_path / "target"
    assert checkout_dataset_version(context, "images@1", target) == first
    assert [path.name for path in target.rglob("*.bin")] == ["1.bin"]
    assert checkout_dataset_version(context, "images", target).id == "images@2"
    assert sorted(path.name for path in target.rglob("*.bin")) == ["1.bin", "2.bin"]


def test_what_is_not_there_is_named(context: Context, tmp_path: Path) -> None:
    """A missing file, dataset or version."""
    with pytest.raises(NotFound, match="dataset 'rows': there is no file"):
        add_dataset_version(context, "rows", tmp_path / "none.csv")
    with pytest.raises(NotFound, match="'rows'"):
        get_dataset_version(context, "rows")
    with pytest.raises(NotFound, match="'rows@7'"):
        get_dataset_version(context, "rows@7")


def test_versions_that_are_added_at_once_get_numbers_of_their_own(context: Context, tmp_path: Path) -> None:
    """Two threads, no lost and no double number."""

    def add(name: str) -> None:
        for number in range(5):
            path = tmp_path / f"{name}{number}"
            path.write_text(path.name)
            add_dataset_version(context, "rows", path)

    threads = [threading.Thread(target=add, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with context.transactions.begin(write=False) as uow:
        numbers = [version.number for version in uow.find(DatasetVersion, order="number")]
    assert numbers == list(range(1, 11))
