"""Registered models in MLflow's own database."""

from collections.abc import Iterator

from tournant.adapters.mlflow.tables import Row, Tables
from tournant.adapters.mlflow.values import DELETED_STAGE, elsewhere, logged_model_in, pairs, seconds, text
from tournant.ports import Place, SourceModel, SourceVersion, Unreadable

__all__ = ["read_models"]


def read_models(tables: Tables) -> Iterator[SourceModel | Unreadable]:
    """Give the registered models by name."""
    for row in sorted(tables.all("registered_models"), key=lambda row: str(row["name"])):
        name = row["name"]
        found = elsewhere("model", row)
        if found:
            yield found
            continue
        tags: dict[int, list[Row]] = {}
        for tag in tables.all("model_version_tags", "name = :name", name=name):
            tags.setdefault(tag["version"], []).append(tag)
        versions = sorted(
            tables.all("model_versions", "name = :name", name=name), key=lambda version: version["version"]
        )
        created = seconds(row.get("creation_time")) or 0.0
        yield SourceModel(
            name=name,
            created_at=created,
            updated_at=seconds(row.get("last_updated_time")) or created,
            description=text(row.get("description")),
            last_number=max((version["version"] for version in versions), default=0),
            tags=pairs(tables.all("registered_model_tags", "name = :name", name=name)),
            aliases={
                alias["alias"]: int(alias["version"])
                for alias in tables.all("registered_model_aliases", "name = :name", name=name)
            },
            versions=tuple(
                _version(version, pairs(tags.get(version["version"], [])))
                for version in versions
                if version["current_stage"] != DELETED_STAGE
            ),
        )


def _version(row: Row, tags: dict[str, str]) -> SourceVersion:
    created = seconds(row.get("creation_time")) or 0.0
    run, source = text(row.get("run_id")), text(row.get("source"))
    logged = logged_model_in(source)
    return SourceVersion(
        number=int(row["version"]),
        place=Place(uri=text(row.get("storage_location")) or source, run=run, logged_model=logged),
        created_at=created,
        updated_at=seconds(row.get("last_updated_time")) or created,
        source=source,
        description=text(row.get("description")),
        stage=text(row.get("current_stage")) or "None",
        run=run,
        run_link=text(row.get("run_link")),
        logged_model=logged,
        actor=text(row.get("user_id")),
        tags=tags,
    )
