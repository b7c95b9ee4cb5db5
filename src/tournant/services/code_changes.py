"""Code snapshots compared, file by file and line by line."""

from tournant.domain.code_changes import CodeChanges, FileChange, changed_files, diff_lines
from tournant.domain.data import Tree
from tournant.errors import TournantError
from tournant.ports import BlobStore

__all__ = ["compare_code"]

MOST_FILES = 50
MOST_SHOWN = 15  # of them with their lines
LARGEST_BYTES = 100_000
MOST_FILE_LINES = 4_000  # comparing takes time that grows faster than they do


def compare_code(blobs: BlobStore, base: str, other: str) -> CodeChanges:
    """Compare two snapshots by digest; where their content is not here any more, the note says so."""
    try:
        old, new = blobs.tree(base), blobs.tree(other)
        differing = list(changed_files(old, new))
        files = tuple(
            _change(blobs, old, new, path, change, shown=i < MOST_SHOWN)
            for i, (path, change) in enumerate(differing[:MOST_FILES])
        )
    except TournantError as exc:
        return CodeChanges(base=base, other=other, note=f"The snapshots cannot be read: {exc.message}")
    return CodeChanges(base=base, other=other, files=files, more=max(0, len(differing) - MOST_FILES))


def _change(blobs: BlobStore, old: Tree, new: Tree, path: str, change: str, *, shown: bool) -> FileChange:
    if not shown:
        return FileChange(path=path, change=change)
    texts = [_read(blobs, tree, path) for tree in (old, new)]
    if texts[0] is None or texts[1] is None:
        return FileChange(path=path, change=change, note="not shown: it is no text, or too large")
    lines, whole = diff_lines(texts[0], texts[1])
    return FileChange(path=path, change=change, lines=lines, note="" if whole else "there is more of it")


def _read(blobs: BlobStore, tree: Tree, path: str) -> str | None:
    file = tree.files.get(path)
    if file is None:
        return ""
    if file.size_bytes > LARGEST_BYTES:
        return None
    with blobs.open(file.digest) as content:
        data = content.read()
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return None
    return None if "\0" in text or text.count("\n") > MOST_FILE_LINES else text
