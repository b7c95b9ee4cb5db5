"""A furnished house with the dashboard before it, and an empty one."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

import webhouse
from tournant.adapters.sql.transactions import SqlTransactions, create_engine
from tournant.services.context import Context
from tournant.web.pages import dashboard


@pytest.fixture(scope="session")
def furnished_template(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Furnish one database, to be copied."""
    path = tmp_path_factory.mktemp("house") / "metadata.db"
    shutil.copyfile(sqlite_template, path)
    engine = create_engine(f"sqlite:///{path}")
    webhouse.furnish(SqlTransactions(engine))
    engine.dispose()
    return path


@pytest.fixture
def house(context: Context, clock: object, furnished_template: Path, tmp_path: Path) -> Iterator[Context]:
    """Give a context with thirty days of four deployments behind it."""
    clock.time = webhouse.NOW  # type: ignore[attr-defined]
    path = tmp_path / "house.db"
    shutil.copyfile(furnished_template, path)
    engine = create_engine(f"sqlite:///{path}")
    yield replace(context, transactions=SqlTransactions(engine))
    engine.dispose()


@pytest.fixture
def client(house: Context) -> Iterator[TestClient]:
    """Give a browser-like client of the furnished house."""
    with TestClient(Starlette(routes=list(dashboard(house))), follow_redirects=False) as client:
        yield client


@pytest.fixture
def empty_client(context: Context) -> Iterator[TestClient]:
    """Give a client of a house in which nothing has happened yet."""
    with TestClient(Starlette(routes=list(dashboard(context)))) as client:
        yield client
