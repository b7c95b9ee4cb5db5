"""Requirements files: read with what they include, and held to what can be locked for another machine."""

from collections.abc import Iterator
from pathlib import Path

__all__ = ["local_requirements", "read_requirements"]

_INCLUDES = ("-r ", "--requirement ", "--requirement=")
_LOCAL = ("-e ", "--editable", "./", "../", "/", "file:")


def read_requirements(path: Path) -> str:
    """Give a requirements file's text with the files it includes by `-r` in their place; one that is missing stays as it is."""
    return "".join(f"{line}\n" for line in _lines(path, ()))


def local_requirements(text: str) -> list[str]:
    r"""Give the requirements that are files or folders of this machine, and so would mean nothing on another.

    >>> local_requirements("numpy>=2\n-e .\n./wheels/own.whl\nown @ file:///x.whl")
    ['-e .', './wheels/own.whl', 'own @ file:///x.whl']
    """
    lines = [line.strip() for line in text.splitlines()]
    return [line for line in lines if line.startswith(_LOCAL) or line == "." or " file:" in line]


def _lines(path: Path, including: tuple[Path, ...]) -> Iterator[str]:
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        text = line.strip()
        included = next((text.removeprefix(start).strip() for start in _INCLUDES if text.startswith(start)), "")
        target = (path.parent / included).resolve() if included else path
        if included and target.is_file() and target not in including:
            yield from _lines(target, (*including, target))
        else:
            yield line
