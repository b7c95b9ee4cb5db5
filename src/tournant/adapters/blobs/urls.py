"""Files at addresses: HTTP(S), S3, GCS, Azure, or a path on this machine."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from tournant.adapters.blobs.bucket import Bucket, Listed, open_bucket
from tournant.adapters.blobs.checkout import refuse_escape
from tournant.adapters.blobs.files import explained
from tournant.errors import Invalid, NotFound, Unavailable
from tournant.ports import Progress

__all__ = ["ObjectUrls"]


class ObjectUrls:
    """Downloads what stands at an address: one file, or (not over HTTP) all that stands under it."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        """Take credentials from `environ`."""
        self._environ = environ

    def mark(self, url: str) -> str:
        """Give a word that changes when what stands at an address changes."""
        bucket, name = self._split(url)
        found = sorted((item.name, item.size, item.tag or item.modified) for item in _items(bucket, name, url))
        return hashlib.sha256(repr(found).encode()).hexdigest()[:32]

    def download(self, url: str, target: Path, *, progress: Progress | None = None) -> None:
        """Write what stands at an address to `target`: a file, or a folder of files. What is there of it is not read again."""
        bucket, name = self._split(url)
        for item in _items(bucket, name, url):
            inside = item.name.removeprefix(name).lstrip("/")
            if inside:
                refuse_escape(inside)
            place = target / inside if inside else target
            place.parent.mkdir(parents=True, exist_ok=True)
            with explained(f"cannot write {place}"):
                if not place.exists() or place.stat().st_size != item.size:
                    bucket.resume(item.name, place)
            if place.stat().st_size != item.size:
                place.unlink()
                raise Unavailable(f"{url} changed while it was read: do it again")
            if progress:
                progress(1, item.size)

    def _split(self, url: str) -> tuple[Bucket, str]:
        """Open the folder or bucket that holds an address, and give the name in it."""
        scheme = urlsplit(url).scheme
        whole = url if scheme in ("http", "https") or "://" in url else str(Path(url).expanduser().absolute())
        if "://" not in whole and not Path(whole).exists():
            raise NotFound(f"there is nothing at {url}")
        parent, _, name = whole.rstrip("/").rpartition("/")
        if not name or parent.endswith(":/"):
            raise Invalid(f"{url!r} names no file or folder: s3://BUCKET/PATH, https://HOST/PATH or a path")
        return open_bucket(parent or "/", self._environ, create=False), name


def _items(bucket: Bucket, name: str, url: str) -> list[Listed]:
    found = bucket.head(name)
    items = [found] if found else [item for item in bucket.list(name) if item.name.startswith(f"{name}/")]
    if not items:
        raise NotFound(f"there is nothing at {url}")
    return items
