"""What is in use is kept: every kind of record that names content is looked through."""

import time
from pathlib import Path

import duckdb
import pytest

from tournant.adapters.blobs.keeper import LocalKeeper
from tournant.adapters.sql.schema import RECORDS
from tournant.adapters.tables import DuckDbTables
from tournant.domain.data import DatasetVersion, Remote
from tournant.errors import Conflict, Invalid, NotFound
from tournant.ports import RemoteStore
from tournant.services.context import Context, DataContext
from tournant.services.data import (
    add_dataset_version,
    get_dataset_version,
    remove_dataset_version,
    tag_dataset_version,
)
from tournant.services.remotes import add_remote, fetch_version, pull_datasets, push_datasets
from tournant.services.store_upkeep import HOLDERS, check_store, collect_garbage, used_digests
from tournant.services.workspaces import (
    add_workspace,
    checkout_workspace,
    compare_version_tables,
    compare_versions,
    list_statuses,
)

# Kinds of records that name no content. A new kind belongs here or into HOLDERS.
NAME_NO_CONTENT = {
    *("Event", "Lease", "ClockState", "RoutesVersion", "GatewayState", "NotificationCursor", "Remote"),
    *("Experiment", "RunModel", "DatasetInput", "ModelMetric", "StepMachine", "Dataset", "DatasetTag"),
    *(
        "RegisteredModel",
        "ModelAlias",
        "AliasMove",
        "Rollout",
        "RolloutDecision",
        "Observation",
        "Traffic",
        "Label",
        "LogKey",
    ),
    *("WindowProfile", "Monitor", "Alert"),
}


@pytest.fixture
def data(context: Context) -> DataContext:
    """Give the part of the house that datasets need, with remotes as folders."""
    from tournant.adapters.blobs.remote import ObjectStoreRemote
    from tournant.adapters.blobs.urls import ObjectUrls

    def open_remote(remote: Remote) -> RemoteStore:
        return ObjectStoreRemote(context.blobs, remote, {})  # type: ignore[arg-type]

    return DataContext(
        settings=context.settings,
        transactions=context.transactions,
        blobs=context.blobs,
        clock=context.clock,
        actor="tester",
        keeper=LocalKeeper(context.blobs),  # type: ignore[arg-type]
        open_remote=open_remote,
        tables=DuckDbTables(),
        open_urls=lambda: ObjectUrls({}),
    )


def write(path: Path, **files: str) -> Path:
    path.mkdir(exist_ok=True)
    for name, text in files.items():
        (path / name).write_text(text)
    return path


def test_every_kind_of_record_is_looked_through_or_known_to_name_no_content() -> None:
    """A new kind of record cannot be forgotten."""
    assert {kind.__name__ for kind in RECORDS} == NAME_NO_CONTENT | {kind.__name__ for kind in HOLDERS}


def test_garbage_is_what_no_record_names(data: DataContext, tmp_path: Path) -> None:
    """A removed version's content goes, once it is old enough; what others share stays."""
    first = add_dataset_version(data, "d", write(tmp_path / "in", a="1" * 500, b="2" * 500))
    second = add_dataset_version(data, "d", write(tmp_path / "in", b="3" * 500))
    assert collect_garbage(data, dry_run=True, grace_seconds=0).objects == 0
    remove_dataset_version(data, first.id)
    assert collect_garbage(data, dry_run=False).objects == 0
    assert collect_garbage(data, dry_run=False, grace_seconds=0).objects == 2  # b's content, and the manifest
    assert used_digests(data) == {second.digest: "DatasetVersion d@2"}
    assert check_store(data).sound


def test_versions_in_use_are_not_removed(data: DataContext, tmp_path: Path) -> None:
    """The newest, and those that a tag names."""
    for text in "123":
        add_dataset_version(data, "d", write(tmp_path / "in", a=text))
    tag_dataset_version(data, "d@1", "spring")
    assert get_dataset_version(data, "d@spring").id == "d@1"
    with pytest.raises(Conflict, match="the tag spring"):
        remove_dataset_version(data, "d@1")
    with pytest.raises(Conflict, match="newest"):
        remove_dataset_version(data, "d@3")
    assert remove_dataset_version(data, "d@2").id == "d@2"
    with pytest.raises(NotFound, match=r"'d@autumn' \(the newest is d@3; tags: d@spring\)"):
        get_dataset_version(data, "d@autumn")


def test_a_workspace_knows_which_version_it_is(data: DataContext, tmp_path: Path) -> None:
    """Added, changed, checked out again."""
    folder = write(tmp_path / "in", a="1", b="2")
    add_workspace(data, "d", folder)
    write(folder, a="changed")
    (status,) = list_statuses(data.keeper)
    assert (status.workspace.version, status.changes.modified) == ("d@1", ("a",))
    add_workspace(data, "d", folder)
    assert not list_statuses(data.keeper)[0].changes
    assert compare_versions(data, "d@1", "d@2").modified == ("a",)
    checkout_workspace(data, "d@1", None)
    assert (folder / "a").read_text() == "1"
    assert list_statuses(data.keeper, [folder])[0].workspace.version == "d@1"
    with pytest.raises(NotFound, match="never added"):
        list_statuses(data.keeper, [tmp_path / "elsewhere"])


def test_a_diff_says_what_changed_in_tables(data: DataContext, tmp_path: Path) -> None:
    """Rows, columns, types, and the columns whose values moved, in Parquet and CSV."""
    folder = write(tmp_path / "in", notes="x")
    steady = "case when i % 2 = 0 then 'a' else 'b' end as kind, timestamp '2024-01-01' + interval (i) hour as at"

    def tables(rows: int, columns: str) -> None:
        for suffix in ("parquet", "csv"):
            duckdb.sql(f"copy (select {columns}, {steady} from range({rows}) t(i)) to '{folder}/t.{suffix}'")

    tables(1000, "i % 100 as x, i::integer as n, i as gone, [i] as list")
    add_dataset_version(data, "d", folder)
    tables(
        1200,
        "case when i % 3 = 0 then null else i % 100 + 50 end as x, i::varchar || 'v' as n, 1 as fresh, [i] as list",
    )
    write(folder, notes="y")
    add_dataset_version(data, "d", folder)
    assert compare_versions(data, "d@1", "d@2").modified == ("notes", "t.csv", "t.parquet")
    for changes in compare_version_tables(data, "d@1", "d@2"):
        assert (changes.rows_before, changes.rows_after) == (1000, 1200)
        assert (changes.columns_added, changes.columns_removed) == (("fresh",), ("gone",))
        assert list(changes.types_changed) == ["n"]
        assert changes.moved[0].column == "x"
        assert changes.moved[0].psi > 1
        assert changes.moved[0].missing_after == pytest.approx(1 / 3, abs=0.01)
        assert next(change.psi for change in changes.moved if change.column == "kind") < 0.01
    write(folder, **{"t.parquet": "no parquet"})
    add_dataset_version(data, "d", folder)
    with pytest.raises(Invalid, match=r"t\.parquet cannot be read as a table"):
        compare_version_tables(data, "d@2", "d@3")


def test_versions_travel_between_homes(data: DataContext, tmp_path: Path) -> None:
    """Pushed, forgotten, pulled, and a part of one fetched."""
    version = add_dataset_version(data, "d", write(tmp_path / "in", a="1" * 500, b="2"), details={"rows": 3.0})
    remote = add_remote(data, "origin", str(tmp_path / "remote"), project="p")
    assert push_datasets(data, remote, ()).versions == ("d@1",)
    assert push_datasets(data, remote, ["d"]).versions == ()
    with data.transactions.begin() as uow:
        uow.remove(DatasetVersion, id="d@1")
    time.sleep(0.01)
    collect_garbage(data, dry_run=False, grace_seconds=0)
    assert not data.blobs.has(version.digest)
    assert fetch_version(data, remote, "d@1", under="b").transfer.objects == 2
    assert check_store(data).sound
    assert pull_datasets(data, remote, ()).versions == ("d@1",)
    assert get_dataset_version(data, "d@1") == version
    checkout_workspace(data, "d", tmp_path / "out")
    assert (tmp_path / "out" / "a").read_text() == "1" * 500
    with pytest.raises(NotFound, match=r"has no 'e' of project 'p' \(it has: d\)"):
        pull_datasets(data, remote, ["e"])
