"""Data from elsewhere: files at addresses, and repositories of DVC."""

import fcntl
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
    """Download what stands at an address to `target`; Conflict if something is there.

    What an interruption leaves is beside it, hidden, and the next try goes on from there while the content is the same.
    """
    if target.exists():
        raise Conflict(f"{target} is there already: name another place, or move it away")
    urls = ctx.open_urls()
    target = target.absolute()
    with _part(target.parent, f".{target.name}.{urls.mark(url)[:12]}.part") as part:
        urls.download(url, part, progress=progress)
        part.rename(target)


def import_url(
    ctx: DataContext, url: str, name: str, *, progress: Progress | None = None
) -> tuple[DatasetVersion, bool]:
    """Keep what stands at an address as a dataset's next version; tell whether it had changed since the newest one.

    What is known to be unchanged is not downloaded; an interrupted import goes on where it was.
    """
    urls = ctx.open_urls()
    mark = urls.mark(url)
    try:
        newest = get_dataset_version(ctx, name)
    except NotFound:
        newest = None
    if newest and newest.source == url and newest.details.get(_MARK) == mark:
        return newest, False
    with _part(ctx.settings.home / "imports", mark) as folder:
        folder.mkdir(exist_ok=True)
        place = folder / (url.rstrip("/").rpartition("/")[2] or "data")
        urls.download(url, place, progress=progress)
        return add_dataset_version(ctx, name, place, source=url, details={_MARK: mark}), True


@contextmanager
def _part(parent: Path, name: str) -> Iterator[Path]:
    """Give the place of an unfinished download, gone once it is finished; Conflict while somebody else is at it."""
    parent.mkdir(parents=True, exist_ok=True)
    part, lock = parent / name, parent / f"{name}.lock"
    with lock.open("wb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(f"the same is being downloaded by another process (it holds {lock})") from None
        yield part
        shutil.rmtree(part, ignore_errors=True)
        lock.unlink(missing_ok=True)


@contextmanager
def staging(parent: Path) -> Iterator[Path]:
    """Give a folder for what is not complete yet, gone at the end."""
    parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=".part-", dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
