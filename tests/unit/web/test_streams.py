"""Content between a connection and the store: whatever the sizes, the same bytes; and it is closed whatever happens."""

import asyncio
import io

import pytest

import tournant.web.streams as streams_module
from tournant.errors import Invalid
from tournant.web.streams import read_blocks, receive


async def sent(blocks, *, broken=False):
    for block in blocks:
        yield block
    if broken:
        raise ConnectionError("gone")


@pytest.mark.parametrize("size", [1, 7, 64, 1000, -1])
@pytest.mark.parametrize("lengths", [[], [1], [64, 64, 1], [1000, 3, 0, 500], [63, 65, 64]])
def test_what_comes_in_is_read_as_it_is_asked_for(monkeypatch, size, lengths):
    """Blocks are cut and joined without losing or doubling a byte."""
    monkeypatch.setattr(streams_module, "BLOCK_BYTES", 64)
    blocks = [bytes([number + 1]) * length for number, length in enumerate(lengths)]

    def store(content):
        parts = []
        while part := content.read(size):
            assert size < 0 or len(part) <= size
            parts.append(part)
        assert all(len(part) == size for part in parts[:-1])
        return b"".join(parts)

    assert asyncio.run(receive(sent(blocks), store)) == b"".join(blocks)


def test_what_breaks_off_is_not_stored():
    """The store is told, and whoever sent gets its own error."""
    told = []

    def store(content):
        try:
            content.read()
        except Invalid as exc:
            told.append(exc.message)
            raise

    with pytest.raises(ConnectionError, match="gone"):
        asyncio.run(receive(sent([b"x" * 10], broken=True), store))
    assert told == ["the upload broke off; send it again"]


@pytest.mark.parametrize("length", [0, 1, 64, 200])
def test_content_is_given_in_blocks_and_closed(monkeypatch, length):
    """Also when nobody takes it to its end."""
    monkeypatch.setattr(streams_module, "BLOCK_BYTES", 64)

    async def take(content, most):
        found = []
        blocks = read_blocks(content)
        async for block in blocks:
            found.append(block)
            if len(found) == most:
                break
        await blocks.aclose()
        return b"".join(found)

    whole, part = io.BytesIO(bytes(length)), io.BytesIO(bytes(length))
    assert asyncio.run(take(whole, -1)) == bytes(length)
    assert whole.closed
    assert asyncio.run(take(part, 1)) == bytes(min(length, 64))
    assert part.closed
