"""Registered models in an `mlruns` folder."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from tournant.adapters.mlflow.values import DELETED_STAGE, logged_model_in, readable, seconds, text
from tournant.adapters.mlflow.yaml_files import META, folders, read_meta, read_texts
from tournant.ports import Place, SourceModel, SourceVersion, Unreadable

__all__ = ["read_models"]

_VERSION = "version-"


def read_models(root: Path) -> Iterator[SourceModel | Unreadable]:
    """Give the registered models in a folder; what of their versions cannot be read comes before them."""
    for folder in folders(root):
        if not (folder / META).exists():
            continue
        versions, last = [], 0
        for place in folders(folder):
            if place.name.startswith(_VERSION) and place.name.removeprefix(_VERSION).isdigit():
                number = int(place.name.removeprefix(_VERSION))
                last = max(last, number)
                found = readable("model version", f"{folder.name}@{number}", partial(_version, place, number))
                if isinstance(found, Unreadable):
                    yield found
                elif found.stage != DELETED_STAGE:
                    versions.append(found)
        versions.sort(key=lambda version: version.number)
        yield readable("model", folder.name, partial(_model, folder, tuple(versions), last))


def _model(folder: Path, versions: tuple[SourceVersion, ...], last: int) -> SourceModel:
    meta = read_meta(folder)
    created = seconds(meta.get("creation_timestamp")) or 0.0
    return SourceModel(
        name=text(meta.get("name")) or folder.name,
        created_at=created,
        updated_at=seconds(meta.get("last_updated_timestamp")) or created,
        description=text(meta.get("description")),
        last_number=last,
        tags=read_texts(folder / "tags"),
        aliases={alias: int(number) for alias, number in read_texts(folder / "aliases").items()},
        versions=versions,
    )


def _version(folder: Path, number: int) -> SourceVersion:
    meta = read_meta(folder)
    created = seconds(meta.get("creation_timestamp")) or 0.0
    run, source = text(meta.get("run_id")), text(meta.get("source"))
    logged = text(meta.get("model_id")) or logged_model_in(source)
    return SourceVersion(
        number=number,
        place=Place(uri=text(meta.get("storage_location")) or source, run=run, logged_model=logged),
        created_at=created,
        updated_at=seconds(meta.get("last_updated_timestamp")) or created,
        source=source,
        description=text(meta.get("description")),
        stage=text(meta.get("current_stage")) or "None",
        run=run,
        run_link=text(meta.get("run_link")),
        logged_model=logged,
        actor=text(meta.get("user_id")),
        tags=read_texts(folder / "tags"),
    )
