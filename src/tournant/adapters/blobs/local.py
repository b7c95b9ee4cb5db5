"""A content store in a local folder."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import msgspec
from blake3 import blake3

from tournant.adapters.blobs.stats import StatCache
from tournant.domain.data import Tree, TreeFile
from tournant.errors import Invalid, NotFound

__all__ = ["LocalBlobStore"]

CHUNK_BYTES = 1024 * 1024
READ_ONLY = 0o444


class LocalBlobStore:
    """Keeps each content in a read-only file named by its BLAKE3 digest, in 256 folders by the first two digits.

    A write goes to a temporary file, is flushed to the disk and renamed, so a crash leaves either nothing or all of it. Empty
    folders are not kept in trees.
    """

    def __init__(self, root: Path) -> None:
        """Keep content under `root`, which is made when something is stored."""
        self._root = root
        self._stats = StatCache(root / "stats.db")

    def put(self, source: BinaryIO | bytes) -> str:
        """Store content and give its digest."""
        stream = BytesIO(source) if isinstance(source, bytes) else source
        incoming = self._root / "incoming"
        incoming.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=incoming)
        temporary = Path(name)
        hasher = blake3()
        try:
            with os.fdopen(descriptor, "wb") as file:
                while chunk := stream.read(CHUNK_BYTES):
                    hasher.update(chunk)
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
            return self._keep(temporary, hasher.hexdigest())
        finally:
            temporary.unlink(missing_ok=True)

    def _keep(self, temporary: Path, digest: str) -> str:
        target = self._place(digest)
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary.chmod(READ_ONLY)
            temporary.replace(target)
            _sync_folder(target.parent)
        return digest

    def open(self, digest: str) -> BinaryIO:
        """Open content for reading."""
        return self.path(digest).open("rb")

    def path(self, digest: str) -> Path:
        """Give the content's file."""
        place = self._place(digest)
        if not place.is_file():
            raise NotFound(f"the content store has nothing with the digest {digest}")
        return place

    def has(self, digest: str) -> bool:
        """Tell whether the content is here."""
        return self._place(digest).is_file()

    def put_tree(self, path: Path) -> tuple[str, Tree]:
        """Store a folder, or one file under its own name."""
        if not path.exists():
            raise NotFound(f"there is no file or folder {path}")
        root = path if path.is_dir() else path.parent
        files = {file.relative_to(root).as_posix(): self._put_file(file, root) for file in _files_of(path)}
        tree = Tree(files=dict(sorted(files.items())))
        return self.put(msgspec.json.encode(tree, order="deterministic")), tree

    def _put_file(self, file: Path, root: Path) -> TreeFile:
        if file.is_symlink() and not file.resolve().is_relative_to(root.resolve()):
            raise Invalid(f"{file} links to {file.resolve()}, outside of {root}: copy it in, or leave it out")
        stat = file.stat()
        digest = self._stats.get(file, stat)
        if digest is None or not self.has(digest):
            with file.open("rb") as stream:
                digest = self.put(stream)
            after = file.stat()
            if (after.st_mtime_ns, after.st_size) != (stat.st_mtime_ns, stat.st_size):
                raise Invalid(f"{file} changed while it was read: try again when nobody writes it")
            self._stats.set(file, stat, digest)
        return TreeFile(digest=digest, size_bytes=stat.st_size, executable=bool(stat.st_mode & 0o100))

    def tree(self, digest: str) -> Tree:
        """Read a tree manifest."""
        try:
            return msgspec.json.decode(self.path(digest).read_bytes(), type=Tree)
        except msgspec.DecodeError as exc:
            raise Invalid(f"the content {digest} is not a tree manifest") from exc

    def checkout(self, digest: str, target: Path) -> None:
        """Write a tree; what stands at `target` is replaced at once, and only if it differs."""
        tree = self.tree(digest)
        for name in tree.files:
            _refuse_escape(name)
        single = len(tree.files) == 1 and target.name in tree.files
        if target.exists() and target.is_dir() != single and self._same(target, tree, single=single):
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        try:
            for name, file in tree.files.items():
                self._write(file, staging / name)
            _swap(staging / target.name if single else staging, target)
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def _same(self, target: Path, tree: Tree, *, single: bool) -> bool:
        root = target.parent if single else target
        here = {file.relative_to(root).as_posix(): file for file in _files_of(target)}
        return here.keys() == tree.files.keys() and all(
            self._digest_of(file) == tree.files[name].digest for name, file in here.items()
        )

    def _digest_of(self, file: Path) -> str:
        stat = file.stat()
        digest = self._stats.get(file, stat)
        if digest is None:
            hasher = blake3()
            hasher.update_mmap(file)
            digest = hasher.hexdigest()
            self._stats.set(file, stat, digest)
        return digest

    def _write(self, file: TreeFile, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(self.path(file.digest), target)
        target.chmod(0o755 if file.executable else 0o644)
        self._stats.set(target, target.stat(), file.digest)

    def _place(self, digest: str) -> Path:
        if len(digest) != 64 or not set(digest) <= set("0123456789abcdef"):
            raise Invalid(f"{digest!r} is not a digest: 64 hexadecimal digits")
        return self._root / digest[:2] / digest[2:]


def _files_of(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
        return
    for entry in sorted(path.iterdir()):
        if entry.is_dir() and not entry.is_symlink():
            yield from _files_of(entry)
        elif entry.is_file() or entry.is_symlink():
            yield entry


def _refuse_escape(name: str) -> None:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise Invalid(f"a tree names the path {name!r}, which would leave its folder")


def _swap(new: Path, target: Path) -> None:
    if not target.is_dir():
        new.replace(target)
        return
    old = target.with_name(f".{target.name}.old.{os.getpid()}")
    target.replace(old)
    new.replace(target)
    shutil.rmtree(old)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
