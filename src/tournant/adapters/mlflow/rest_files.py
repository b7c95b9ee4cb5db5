"""Files behind a tracking server: it is asked for them, whatever store they are in; those it has nothing to do with, directly."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, cast
from urllib.parse import quote, urlsplit

from tournant.adapters.mlflow.locations import BlockReader, Locations
from tournant.adapters.mlflow.rest_client import RestClient
from tournant.ports import Place, SourceFile

__all__ = ["RestFiles"]

_PROXY = "/api/2.0/mlflow-artifacts/artifacts"


class RestFiles:
    """Lists and reads the files of runs, logged models and addresses."""

    def __init__(self, client: RestClient, locations: Locations) -> None:
        """Ask by `client`, and read other addresses by `locations`."""
        self._client = client
        self._locations = locations

    def list(self, place: Place) -> list[SourceFile]:
        """List all files at a place, folder by folder."""
        if not place.run and not place.logged_model and _proxied(place) is None:
            return self._locations.list(place)
        found, folders = [], [""]
        while folders:
            folder = folders.pop()
            for entry in self._entries(place, folder):
                if entry.get("is_dir"):
                    folders.append(entry["path"])
                else:
                    size = entry.get("file_size")
                    found.append(SourceFile(path=entry["path"], size_bytes=None if size is None else int(size)))
        return sorted(found, key=lambda file: file.path)

    def _entries(self, place: Place, folder: str) -> Iterator[dict[str, Any]]:
        """Give what stands in a folder, by its path from the place."""
        asked = {"path": folder}
        if place.run:
            path, asked = "/api/2.0/mlflow/artifacts/list", {"run_id": place.run, "path": folder}
        elif place.logged_model:
            path = f"/api/2.0/mlflow/logged-models/{quote(place.logged_model)}/artifacts/directories"
            asked = {"artifact_directory_path": folder}
        else:
            path, root = _PROXY, _proxied(place) or ""
            asked = {"path": "/".join(filter(None, (root, folder)))}
        token = ""
        while True:
            answer = self._client.get(path, {**asked, "page_token": token} if token else asked)
            for entry in answer.get("files", ()):
                by_name = not place.run and not place.logged_model  # the proxy tells names, the others paths
                yield {**entry, "path": "/".join(filter(None, (folder, entry["path"])))} if by_name else entry
            token = answer.get("next_page_token") or ""
            if not token:
                return

    @contextmanager
    def open(self, place: Place, path: str) -> Iterator[BinaryIO]:
        """Open a file at a place."""
        root = _proxied(place)
        if place.run:
            asked = self._client.blocks("/get-artifact", {"run_uuid": place.run, "run_id": place.run, "path": path})
        elif root is not None:
            asked = self._client.blocks(f"{_PROXY}/{quote('/'.join(filter(None, (root, path))))}", {})
        elif place.logged_model:
            where = f"/ajax-api/2.0/mlflow/logged-models/{quote(place.logged_model)}/artifacts/files"
            asked = self._client.blocks(where, {"artifact_file_path": path})
        else:
            with self._locations.open(place, path) as content:
                yield content
            return
        with asked as blocks:
            yield cast("BinaryIO", BlockReader(blocks))


def _proxied(place: Place) -> str | None:
    """Give the path of an address that the server's proxy of artifacts serves."""
    parts = urlsplit(place.uri)
    return parts.path.strip("/") if parts.scheme == "mlflow-artifacts" else None
