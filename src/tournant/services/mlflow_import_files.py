"""Files of an MLflow store, streamed into the content store one by one."""

from dataclasses import dataclass
from urllib.parse import urlsplit

from tournant.errors import TournantError
from tournant.ports import Place
from tournant.services.artifacts import SCHEME, artifact_path, find_artifacts, put_artifact
from tournant.services.mlflow_import_report import Importing

__all__ = ["Brought", "bring_files"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Brought:
    """How bringing the files of a place went: whether all are here, where they are now, how many are new."""

    whole: bool
    location: str
    files: int = 0


def bring_files(work: Importing, place: Place, location: str, *, owner: str, trust_size: bool) -> Brought:
    """Copy what stands at a place to a location here; what is there is not read again if its size is trusted to tell.

    What cannot be had is noted, and is no reason to stop. Where nothing can be had, an address that others may read stays
    where the files are.
    """
    report, before_all, base = work.report, work.report.files, artifact_path(location)
    try:
        files = work.source.files.list(place)
    except TournantError as exc:
        report.leave("artifacts", owner, exc.message)
        return Brought(whole=False, location=place.uri if _leads_somewhere(place.uri) else location)
    here = {artifact.path: artifact for artifact in find_artifacts(work.ctx, base)} if files else {}
    whole = True
    for file in files:
        before = here.get(f"{base}/{file.path}")
        if trust_size and before and before.size_bytes == file.size_bytes:
            continue
        try:
            with work.source.files.open(place, file.path) as content:
                stored = put_artifact(work.ctx, f"{base}/{file.path}", content, size_bytes=file.size_bytes)
        except TournantError as exc:
            report.leave("artifact", f"{file.path} of {owner}", exc.message)
            whole = False
            continue
        if before is None or before.digest != stored.digest:
            report.files += 1
            report.size_bytes += stored.size_bytes
        work.tell()
    return Brought(whole=whole, location=location, files=report.files - before_all)


def _leads_somewhere(uri: str) -> bool:
    """Tell whether an address leads somewhere without the store that gave it."""
    return urlsplit(uri).scheme not in ("", "file", SCHEME, "models", "runs")
