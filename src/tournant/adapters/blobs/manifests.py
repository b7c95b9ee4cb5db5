"""Tree manifests: a tree's files, sorted by path and cut into nodes, so that a small change writes few of them.

A node is cut where a path's checksum says so, within bounds: the same files give the same nodes whatever was there before,
and a file that comes or goes moves the boundaries near it only. Leaves list files, inner nodes list nodes by the path they
begin with; the root knows the totals. A node is a blob, and the root's digest is the tree's.
"""

import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import msgspec
from blake3 import blake3

from tournant.domain.data import Tree, TreeFile
from tournant.errors import Invalid

__all__ = [
    "EXECUTABLE",
    "FOLDER",
    "Entry",
    "Root",
    "child_keys",
    "encode_tree",
    "is_root",
    "leaf_entries",
    "read_root",
    "to_tree",
    "tree_key",
    "walk_entries",
]

_FORMAT = "tournant tree 1"
_FEWEST, _MOST = 6, 16
_BITS = 2  # beyond the fewest, a node ends after 4 entries on average
EXECUTABLE, FOLDER = 1, 2


class Entry(NamedTuple):
    """A file (its content's digest, size, EXECUTABLE or not) or an empty folder (FOLDER, without digest)."""

    path: str
    key: bytes
    size: int
    flags: int


class Root(msgspec.Struct, frozen=True, array_like=True):
    """The top node: `level` 0 lists entries, a higher one (path, digest) of nodes one level below."""

    format: str
    files: int
    size: int
    level: int
    items: list[tuple[Any, ...]]


_encode = msgspec.msgpack.Encoder().encode
_decode_root = msgspec.msgpack.Decoder(Root).decode
_decode_leaf = msgspec.msgpack.Decoder(list[tuple[str, bytes, int, int]]).decode
_decode_inner = msgspec.msgpack.Decoder(list[tuple[str, bytes]]).decode
Load = Callable[[Sequence[bytes]], Iterator[bytes | memoryview]]


def encode_tree(entries: Sequence[Entry], keep: Callable[[list[tuple[bytes, bytes]]], None]) -> tuple[bytes, int, int]:
    """Store the nodes of sorted entries by `keep`, which takes (digest, node) pairs; give digest, files and size."""
    files = sum(1 for entry in entries if not entry.flags & FOLDER)
    size = sum(entry.size for entry in entries)
    level: int = 0
    items: Sequence[tuple[Any, ...]] = entries
    while len(items) > _MOST:
        nodes = []
        above = []
        for group in _groups(items, level):
            body = _encode(group)
            key = blake3(body).digest()
            nodes.append((key, body))
            above.append((group[0][0], key))
        keep(nodes)
        level, items = level + 1, above
    body = _encode(Root(_FORMAT, files, size, level, list(items)))
    key = blake3(body).digest()
    keep([(key, body)])
    return key, files, size


def tree_key(entries: Sequence[Entry]) -> bytes:
    """Give the digest that a tree of sorted entries would have."""
    return encode_tree(entries, lambda _: None)[0]


def _groups(items: Sequence[tuple[Any, ...]], level: int) -> Iterator[Sequence[tuple[Any, ...]]]:
    mask, salt, checksum = (1 << _BITS) - 1, level * 0x9E3779B1 & 0xFFFFFFFF, zlib.crc32
    start, fewest = 0, _FEWEST - 1
    for end, item in enumerate(items):
        length = end - start
        if length < fewest:
            continue
        if length == _MOST - 1 or not checksum(item[0].encode(), salt) & mask:
            yield items[start : end + 1]
            start = end + 1
    if start < len(items):
        yield items[start:]


def read_root(data: bytes | memoryview, digest: str) -> Root:
    """Read a tree's top node; Invalid if the content is something else."""
    try:
        root = _decode_root(data)
    except msgspec.DecodeError as exc:
        raise Invalid(f"the content {digest} is not a tree manifest") from exc
    if root.format != _FORMAT:
        raise Invalid(f"the content {digest} is a tree manifest of another format: {root.format!r}")
    return root


def is_root(data: bytes | memoryview) -> bool:
    """Tell whether content is a tree's top node."""
    return _FORMAT.encode() in bytes(data[: len(_FORMAT) + 4])


def leaf_entries(data: bytes | memoryview) -> Iterator[Entry]:
    """Read a leaf."""
    return (Entry(*item) for item in _decode_leaf(data))


def child_keys(data: bytes | memoryview) -> Iterator[bytes]:
    """Read the digests in an inner node."""
    return (key for _, key in _decode_inner(data))


def walk_entries(root: Root, load: Load) -> Iterator[Entry]:
    """Give a tree's entries in order; `load` reads nodes."""
    if root.level == 0:
        yield from map(Entry._make, root.items)
        return
    keys = [key for _, key in root.items]
    for _ in range(root.level - 1):
        keys = [key for data in load(keys) for key in child_keys(data)]
    for data in load(keys):
        yield from leaf_entries(data)


def to_tree(entries: Iterator[Entry]) -> Tree:
    """Give entries as the domain's tree."""
    files, folders = {}, []
    for path, key, size, flags in entries:
        if flags & FOLDER:
            folders.append(path)
        else:
            files[path] = TreeFile(digest=key.hex(), size_bytes=size, executable=bool(flags & EXECUTABLE))
    return Tree(files=files, folders=tuple(folders))
