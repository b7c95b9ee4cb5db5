"""Chunk boundaries are for ever, and recipes give content back."""

import random
from io import BytesIO

from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from tournant.adapters.blobs.recipes import Chunk, ChunkReader, chunks_of, cut, encode_recipe, read_recipe

GOLDEN = [91119, 87256, 67902, 71710, 70301, 93714, 84280, 66932, 77384, 74688, 62932, 68809]
GOLDEN_DIGEST = "9aefec1843c314188a53cb2486bca4aff06c9d34913e1124e9c76b25ff03dcd4"


def pseudo_random(seed: int, length: int) -> bytes:
    return random.Random(seed).randbytes(length)


def lengths(content: bytes) -> list[int]:
    return [len(chunk) for window in cut(BytesIO(content)) for chunk in window]


def test_the_boundaries_are_those_they_always_were():
    """A changed boundary would silently ruin deduplication with everything stored before."""
    content = pseudo_random(7, 20_000_000)
    cuts = lengths(content)
    assert sum(cuts) == len(content)
    assert cuts[:12] == GOLDEN
    assert blake3(repr(cuts).encode()).hexdigest() == GOLDEN_DIGEST
    assert lengths(bytes(1_000_000)) == [262_144] * 3 + [213_568]


class Dripping(BytesIO):
    """Gives a few bytes at a time, as a pipe may."""

    def readinto(self, buffer):
        return super().readinto(memoryview(buffer)[:100_003])


def test_how_content_is_read_changes_no_boundary():
    """Windows and short reads are invisible."""
    content = pseudo_random(8, 9_000_000)
    dripped = [len(chunk) for window in cut(Dripping(content)) for chunk in window]
    assert dripped == lengths(content)
    assert lengths(b"") == []


def test_an_insertion_changes_few_chunks():
    """Bytes put into the middle leave the chunks before and soon after as they were."""
    content = pseudo_random(9, 12_000_000)
    changed = content[:6_000_000] + b"inserted" + content[6_000_000:]

    def digests(data: bytes) -> list[bytes]:
        return [blake3(chunk).digest() for window in cut(BytesIO(data)) for chunk in window]

    before = set(digests(content))
    assert sum(digest not in before for digest in digests(changed)) <= 4


def test_a_long_recipe_shares_its_parts_with_the_next_version():
    """A changed chunk costs one part and the top, not the whole list."""
    chunks = [Chunk(blake3(str(number).encode()).digest(), 65_536) for number in range(10_000)]
    stored: dict[bytes, bytes] = {}
    recipe = read_recipe(encode_recipe(chunks, stored.__setitem__))
    assert recipe.parts
    assert recipe.size == 10_000 * 65_536
    assert chunks_of(recipe, stored.__getitem__) == chunks
    more: dict[bytes, bytes] = {}
    chunks[5_000] = Chunk(blake3(b"new").digest(), 65_536)
    encode_recipe(chunks, more.__setitem__)
    assert sum(len(body) for key, body in more.items() if key not in stored) < 40_000


@settings(deadline=None, max_examples=30)
@given(st.lists(st.binary(min_size=1, max_size=50), min_size=1, max_size=20), st.data())
def test_chunked_content_is_read_from_anywhere(pieces, data):
    """Any seek and read gives what a plain file gives, and loads only the chunks touched."""
    store = {blake3(piece).digest(): piece for piece in pieces}
    content = b"".join(pieces)
    reader = ChunkReader([Chunk(blake3(piece).digest(), len(piece)) for piece in pieces], store.__getitem__)
    start = data.draw(st.integers(0, len(content)))
    assert reader.seek(start) == start
    assert reader.readall() == content[start:]
    assert reader.seek(-1, 2) == len(content) - 1
    assert reader.read(5) == content[-1:]
