"""Tree manifests: the same files are the same nodes, and a small change writes few of them."""

import random

import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from tournant.adapters.blobs.manifests import FOLDER, Entry, encode_tree, read_root, walk_entries
from tournant.errors import Invalid


class Nodes(dict[bytes, bytes]):
    """Where nodes are kept."""

    def keep(self, nodes):
        self.update(nodes)

    def load(self, keys):
        return (self[key] for key in keys)

    def read(self, digest):
        return list(walk_entries(read_root(self[digest], digest.hex()), self.load))


def entries(count: int, *, changed: frozenset[int] = frozenset()) -> list[Entry]:
    def key(number: int) -> bytes:
        return blake3(f"{number}{'new' if number in changed else ''}".encode()).digest()

    return sorted(Entry(f"{n // 2500:02d}/{n // 50:04d}/f{n:06d}.bin", key(n), 10_000 + n % 7, 0) for n in range(count))


def test_a_change_of_100_among_50_000_writes_less_than_200_kilobytes():
    """However the 100 are spread."""
    nodes, more = Nodes(), Nodes()
    encode_tree(entries(50_000), nodes.keep)
    spread = frozenset(random.Random(1).sample(range(50_000), 100))
    digest, files, _ = encode_tree(entries(50_000, changed=spread), more.keep)
    new = {key: body for key, body in more.items() if key not in nodes}
    assert files == 50_000
    assert sum(map(len, new.values())) + 46 * len(new) < 200_000
    assert more.read(digest) == entries(50_000, changed=spread)


PATHS = st.lists(st.text("ab/é", min_size=1, max_size=8), max_size=120, unique=True)


@settings(deadline=None, max_examples=60)
@given(PATHS, st.lists(st.integers(0, 3), max_size=120))
def test_any_list_of_entries_comes_back(paths, flags):
    """Files, executables and empty folders, few or many."""
    rows = sorted(
        Entry(path, b"" if flag & FOLDER else blake3(path.encode()).digest(), 0 if flag & FOLDER else 3, flag)
        for path, flag in zip(paths, [*flags, *[0] * len(paths)], strict=False)
    )
    nodes = Nodes()
    digest, files, size = encode_tree(rows, nodes.keep)
    assert nodes.read(digest) == rows
    assert files == sum(not row.flags & FOLDER for row in rows)
    assert size == 3 * files


@settings(deadline=None, max_examples=30)
@given(st.sets(st.integers(0, 2_000), max_size=40))
def test_the_digest_does_not_depend_on_history(gone):
    """Files that came and went leave no trace."""
    rows = [entry for number, entry in enumerate(entries(2_001)) if number not in gone]
    first, second = Nodes(), Nodes()
    encode_tree(entries(2_001), second.keep)
    assert encode_tree(rows, first.keep) == encode_tree(rows, second.keep)


def test_what_is_no_manifest_is_refused():
    """With the digest."""
    with pytest.raises(Invalid, match="abc is not a tree manifest"):
        read_root(b"\x93\x01\x02\x03", "abc")
