"""Opens a store of MLflow's to import from: says which of the three kinds it is, or that it is none."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tournant.config import Settings
from tournant.errors import Invalid, NotFound
from tournant.ports import MlflowSource

__all__ = ["open_mlflow_source"]

_KINDS = "a tracking server (http://HOST:PORT), an mlruns folder, or MLflow's own database (a SQLite file, sqlite:///FILE, postgresql://…)"
_META = "meta.yaml"


@contextmanager
def open_mlflow_source(settings: Settings, address: str, *, artifacts: str = "") -> Iterator[MlflowSource]:
    """Open a store by its URL or path; `artifacts` is where a server without us keeps what it serves as `mlflow-artifacts:`.

    NotFound when nothing is there, Invalid when it is no store of MLflow's.
    """
    scheme = urlsplit(address).scheme if "://" in address else ""
    if scheme in ("http", "https"):
        with _open_server(settings, address, artifacts) as source:
            yield source
    elif scheme == "file":
        yield _open_folder(settings, Path(unquote(urlsplit(address).path)), artifacts)
    elif scheme:
        with _open_database(settings, address, artifacts) as source:
            yield source
    else:
        path = Path(address).expanduser().absolute()
        if path.is_dir():
            yield _open_folder(settings, path, artifacts)
        elif path.is_file():
            with _open_database(settings, str(path), artifacts) as source:
                yield source
        else:
            raise NotFound(f"there is nothing at {address!r}: name {_KINDS}")


@contextmanager
def _open_server(settings: Settings, address: str, artifacts: str) -> Iterator[MlflowSource]:
    from tournant.adapters.mlflow.locations import Locations
    from tournant.adapters.mlflow.rest import RestSource
    from tournant.adapters.mlflow.rest_client import RestClient
    from tournant.adapters.mlflow.rest_files import RestFiles

    client = RestClient(address, settings.environ)
    locations = Locations(settings.environ, base=Path.cwd(), artifacts=artifacts)
    try:
        yield RestSource(client, RestFiles(client, locations))
    finally:
        client.close()


@contextmanager
def _open_database(settings: Settings, address: str, artifacts: str) -> Iterator[MlflowSource]:
    from tournant.adapters.mlflow.locations import Locations
    from tournant.adapters.mlflow.sql import SqlSource
    from tournant.adapters.mlflow.tables import Tables, open_engine

    engine, path = open_engine(address)
    parts = urlsplit(address)
    name = str(path) if path else f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    locations = Locations(settings.environ, base=path.parent if path else Path.cwd(), artifacts=artifacts)
    try:
        yield SqlSource(Tables(engine), locations, address=name)
    finally:
        engine.dispose()


def _open_folder(settings: Settings, path: Path, artifacts: str) -> MlflowSource:
    from tournant.adapters.mlflow.files import FileSource
    from tournant.adapters.mlflow.locations import Locations

    root = next((folder for folder in (path, path / "mlruns") if _is_store(folder)), None)
    if root is None:
        database = next(iter(sorted(path.glob("*.db"))), None) if path.is_dir() else None
        hint = f" There is a database in it: {database}" if database else ""
        raise Invalid(f"{path} is no mlruns folder: no folder in it has a {_META}. Name {_KINDS}.{hint}")
    return FileSource(root, Locations(settings.environ, base=root.parent, artifacts=artifacts))


def _is_store(path: Path) -> bool:
    return path.is_dir() and any(
        True for pattern in ("*", "models/*", ".trash/*") for _ in path.glob(f"{pattern}/{_META}")
    )
