"""The data that the area `data` works on: a large file, and many small ones in nested folders; no two runs differ."""

import random
from collections.abc import Iterable
from pathlib import Path

__all__ = ["change_small", "grow_large", "size_of", "write_large", "write_small"]

_BLOCK = 1 << 24
INSERTED, APPENDED = 1 << 20, 10 << 20


def write_small(folder: Path, count: int, *, seed: int = 0) -> Path:
    """Write files of 4 to 16 KB, 50 in a folder, 50 folders in one above."""
    chance = random.Random(seed)
    for number in range(count):
        parent = folder / f"{number // 2500:03d}" / f"{number // 50 % 50:02d}"
        if number % 50 == 0:
            parent.mkdir(parents=True, exist_ok=True)
        (parent / f"f{number:07d}.bin").write_bytes(chance.randbytes(chance.randint(4096, 16_384)))
    return folder


def change_small(folder: Path, count: int) -> int:
    """Write new content into some files, spread over all; give the bytes written."""
    files = sorted(folder.rglob("*.bin"))
    chance, written = random.Random(99), 0
    for path in chance.sample(files, count):
        written += path.write_bytes(chance.randbytes(path.stat().st_size))
    return written


def write_large(path: Path, size: int) -> Path:
    """Write one file of noise."""
    chance = random.Random(1)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        for start in range(0, size, _BLOCK):
            file.write(chance.randbytes(min(_BLOCK, size - start)))
    return path


def grow_large(path: Path) -> int:
    """Insert 1 MB in the middle of a file and append 10 MB; give the bytes that are new."""
    chance, half = random.Random(2), path.stat().st_size // 2
    grown = path.with_name(f"{path.name}.grown")
    with path.open("rb") as old, grown.open("wb") as new:
        _copy(old, new, half)
        new.write(chance.randbytes(INSERTED))
        _copy(old, new, path.stat().st_size - half)
        new.write(chance.randbytes(APPENDED))
    grown.replace(path)
    return INSERTED + APPENDED


def _copy(old, new, size: int) -> None:  # type: ignore[no-untyped-def]
    while size and (block := old.read(min(_BLOCK, size))):
        new.write(block)
        size -= len(block)


def size_of(folders: Iterable[Path]) -> int:
    """Give the bytes of all files under some folders."""
    return sum(path.stat().st_size for folder in folders for path in folder.rglob("*") if path.is_file())
