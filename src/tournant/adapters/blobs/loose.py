"""Whole contents as files of their own, named by their digests: what was stored singly, or asked for by path."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from blake3 import blake3

from tournant.adapters.blobs.files import BLOCK_BYTES, READ_ONLY, DirectFile, sync_folder, temporary
from tournant.errors import Damaged

__all__ = ["Loose"]


class Loose:
    """Read-only files in 256 folders by the first two digits of their digests.

    A write goes to a temporary file, is flushed to the disk and renamed, so a crash leaves either nothing or all of it.
    """

    def __init__(self, root: Path) -> None:
        """Keep files under `root`."""
        self._root = root

    def place(self, key: bytes) -> Path:
        """Give where content is or would be."""
        name = key.hex()
        return self._root / name[:2] / name[2:]

    def find(self, key: bytes) -> Path | None:
        """Give the content's file if it is here."""
        path = self.place(key)
        return path if path.is_file() else None

    def keep(self, blocks: Iterable[bytes | memoryview], *, expected: bytes | None = None) -> bytes:
        """Store content and give its digest; Damaged if that is not the one expected."""
        hasher = blake3()
        with temporary(self._root / "incoming") as part:
            with DirectFile(part, mode=READ_ONLY) as file:
                for block in blocks:
                    hasher.update(block)
                    file.write(block)
                file.close(durably=True)
            key = hasher.digest()
            if expected and key != expected:
                raise Damaged(f"the content {expected.hex()} is damaged in the store: tournant data fsck --repair")
            target = self.place(key)
            if not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                part.replace(target)
                sync_folder(target.parent)
        return key

    def check(self, key: bytes) -> bool:
        """Tell whether content that is here is what its name says."""
        hasher = blake3()
        with self.place(key).open("rb", buffering=0) as file:
            while block := file.read(BLOCK_BYTES):
                hasher.update(block)
        return hasher.digest() == key

    def digests(self) -> Iterator[bytes]:
        """Give every content's digest."""
        for folder in sorted(self._root.glob("[0-9a-f][0-9a-f]")):
            for path in sorted(folder.iterdir()):
                if len(path.name) == 62:
                    yield bytes.fromhex(folder.name + path.name)
