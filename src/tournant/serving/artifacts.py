"""Models by digest: fetched from the control plane once, checked, and kept on disk."""

import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from urllib.parse import quote

import blake3
import httpx
import msgspec

from tournant.domain.data import Tree
from tournant.errors import Invalid, Unavailable

__all__ = ["ArtifactCache", "NotYet"]


class NotYet(Unavailable):
    """The control plane cannot be reached; the same call will do once it can."""


class ArtifactCache:
    """A folder of files and trees named by their digests; safe to use from several threads."""

    def __init__(self, folder: Path, client: httpx.Client) -> None:
        """Keep content in `folder`; fetch what is not there with `client`, whose base address is the control plane's."""
        self._files = folder / "files"
        self._trees = folder / "trees"
        for part in (self._files, self._trees):
            part.mkdir(parents=True, exist_ok=True)
        self._client = client

    def file(self, digest: str) -> Path:
        """Give a local file with the content; Invalid if it is not what its digest says, NotYet if out of reach."""
        path = self._files / f"{_checked(digest)}.onnx"
        if not path.exists():
            self._fetch(digest, path)
        return path

    def tree(self, digest: str) -> Path:
        """Give a local folder with the tree's files."""
        path = self._trees / _checked(digest)
        if path.exists():
            return path
        manifest = self._manifest(digest)
        with tempfile.TemporaryDirectory(dir=self._trees, prefix=".part-") as temporary:
            part = Path(temporary) / "tree"
            for name, file in manifest.files.items():
                self._fetch(file.digest, _inside(part, name), executable=file.executable)
            part.mkdir(exist_ok=True)
            try:
                part.rename(path)
            except OSError:  # another thread was first
                if not path.exists():
                    raise
        return path

    def keep(self, digests: Iterable[str]) -> None:
        """Remove everything but these."""
        kept = set(digests)
        for file in self._files.glob("*.onnx"):
            if file.stem not in kept:
                file.unlink(missing_ok=True)
        for tree in self._trees.iterdir():
            if tree.name not in kept and not tree.name.startswith("."):
                shutil.rmtree(tree, ignore_errors=True)

    def _manifest(self, digest: str) -> Tree:
        content = _raised(self._get(f"/api/blobs/{quote(digest)}/tree"), digest).content
        try:
            return msgspec.json.decode(content, type=Tree)
        except msgspec.DecodeError as exc:
            raise Invalid(f"the manifest of tree {digest[:12]}… cannot be read: {exc}") from exc

    def _get(self, path: str) -> httpx.Response:
        try:
            return self._client.get(path, timeout=30)
        except httpx.HTTPError as exc:
            raise NotYet(f"the control plane does not give {path}: {exc}") from exc

    def _fetch(self, digest: str, target: Path, *, executable: bool = False) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        hasher = blake3.blake3()
        with tempfile.NamedTemporaryFile(dir=target.parent, prefix=".part-", delete=False) as file:
            part = Path(file.name)
            try:
                with self._client.stream("GET", f"/api/blobs/{quote(digest)}", timeout=60) as answer:
                    _raised(answer, digest)
                    for block in answer.iter_bytes(1 << 20):
                        hasher.update(block)
                        file.write(block)
            except httpx.HTTPError as exc:
                part.unlink()
                raise NotYet(f"the control plane does not give content {digest[:12]}…: {exc}") from exc
            except BaseException:
                part.unlink()
                raise
        if hasher.hexdigest() != digest:
            part.unlink()
            raise Invalid(f"content {digest[:12]}… arrived as {hasher.hexdigest()[:12]}…: it is damaged at its source")
        part.chmod(0o755 if executable else 0o644)
        part.replace(target)


def _raised(answer: httpx.Response, digest: str) -> httpx.Response:
    if answer.status_code == 404:
        raise Invalid(f"content {digest[:12]}… is not in the content store")
    if answer.status_code != 200:
        raise NotYet(f"the control plane answers {answer.status_code} for content {digest[:12]}…")
    return answer


def _checked(digest: str) -> str:
    if not digest or not all(character in "0123456789abcdef" for character in digest):
        raise Invalid(f"{digest[:80]!r} is no digest")
    return digest


def _inside(folder: Path, name: str) -> Path:
    parts = PurePosixPath(name)
    if parts.is_absolute() or ".." in parts.parts:
        raise Invalid(f"the tree names the file {name!r}, which is outside of it")
    return folder / parts
