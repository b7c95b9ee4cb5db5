"""Data from elsewhere: files at addresses, and repositories of DVC."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tournant.domain.data import DatasetVersion
from tournant.errors import Conflict, NotFound
from tournant.ports import Progress
from tournant.services.context import DataContext
from tournant.services.data import add_dataset_version, get_dataset_version

__all__ = ["get_url", "import_url", "staging"]

_MARK = "mark"  # in a version's details: what its address said of its content


def get_url(ctx: DataContext, url: str, target: Path, *, progress: Progress | None = None) -> None:
    """Download what stands at an address to `target`; Conflict if something is there. What is half-done is not left."""
    if target.exists():
        raise Conflict(f"{target} is there already: name another place, or move it away")
    with staging(target.absolute().parent) as folder:
        part = folder / target.name
        ctx.open_urls().download(url, part, progress=progress)
        part.rename(target)


def import_url(
    ctx: DataContext, url: str, name: str, *, progress: Progress | None = None
) -> tuple[DatasetVersion, bool]:
    """Keep what stands at an address as a dataset's next version; tell whether it had changed since the newest one.

    What is known to be unchanged is not downloaded.
    """
    urls = ctx.open_urls()
    mark = urls.mark(url)
    try:
        newest = get_dataset_version(ctx, name)
    except NotFound:
        newest = None
    if newest and newest.source == url and newest.details.get(_MARK) == mark:
        return newest, False
    with staging(ctx.settings.home / "imports") as folder:
        place = folder / (url.rstrip("/").rpartition("/")[2] or "data")
        urls.download(url, place, progress=progress)
        return add_dataset_version(ctx, name, place, source=url, details={_MARK: mark}), True


@contextmanager
def staging(parent: Path) -> Iterator[Path]:
    """Give a folder for what is not complete yet, gone at the end."""
    parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=".part-", dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
