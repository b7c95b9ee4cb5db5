"""Content that streams between a connection and the content store, in constant memory and with one write."""

import asyncio
import queue
from collections.abc import AsyncIterable, AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import BinaryIO, TypeVar

from starlette.concurrency import run_in_threadpool

from tournant.errors import Invalid

__all__ = ["BLOCK_BYTES", "read_blocks", "receive"]

T = TypeVar("T")
BLOCK_BYTES = 1024 * 1024
_BLOCKS = 4  # that wait between connection and store
_LOOK_SECONDS = 0.2
_receivers = ThreadPoolExecutor(16, "upload")  # of their own: what feeds them must never wait for one of them


class _Pipe:
    """The store's end of a connection: reads block until enough has come."""

    def __init__(self) -> None:
        self._blocks: queue.Queue[bytes | None] = queue.Queue(_BLOCKS)
        self._rest = memoryview(b"")
        self._ended = False
        self.abandoned = False

    def offer(self, block: bytes) -> bool:
        """Hand over a block if there is room now."""
        try:
            self._blocks.put_nowait(block)
        except queue.Full:
            return False
        return True

    def feed(self, block: bytes | None) -> None:
        """Hand over a block (None: it broke off; empty: it is complete), waiting while the store is behind."""
        while not self.abandoned:
            try:
                return self._blocks.put(block, timeout=_LOOK_SECONDS)
            except queue.Full:
                continue
        return None

    def read(self, size: int = -1) -> bytes:
        """Give `size` bytes, fewer only at the end."""
        parts: list[bytes | memoryview] = [self._rest] if self._rest else []
        wanted = size - len(self._rest)
        while not self._ended and (size < 0 or wanted > 0):
            block = self._blocks.get()
            if block is None:
                raise Invalid("the upload broke off; send it again")
            self._ended = not block
            parts.append(block)
            wanted -= len(block)
        self._rest = memoryview(b"")
        if size >= 0 and wanted < 0:  # the last block has more than was asked for
            last = memoryview(parts[-1])
            parts[-1], self._rest = last[:wanted], last[wanted:]
        return b"".join(parts)


async def receive(chunks: AsyncIterable[bytes], store: Callable[[BinaryIO], T]) -> T:
    """Let `store`, in a thread, read what comes in; give what it gives."""
    pipe = _Pipe()
    stored = asyncio.get_running_loop().run_in_executor(_receivers, store, pipe)  # type: ignore[arg-type] # it reads
    stored.add_done_callback(lambda _: setattr(pipe, "abandoned", True))
    try:
        async for block in _in_blocks(chunks):
            if not pipe.offer(block):
                await run_in_threadpool(pipe.feed, block)
        await run_in_threadpool(pipe.feed, b"")
    except BaseException:
        await run_in_threadpool(pipe.feed, None)
        await asyncio.gather(stored, return_exceptions=True)
        raise
    return await stored


async def _in_blocks(chunks: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    """Join and cut, so that what is read in blocks is copied once."""
    held: list[bytes | memoryview] = []
    missing = BLOCK_BYTES
    async for chunk in chunks:
        rest = memoryview(chunk)
        while len(rest) >= missing:
            yield b"".join([*held, rest[:missing]])
            rest, held, missing = rest[missing:], [], BLOCK_BYTES
        if rest:
            held.append(rest)
            missing -= len(rest)
    if held:
        yield b"".join(held)


async def read_blocks(content: BinaryIO) -> AsyncIterator[bytes]:
    """Give opened content block by block, and close it; the next block is read while one is sent."""
    ahead = _read(content)
    try:
        while block := await ahead:
            ahead = _read(content)
            yield block
    finally:
        await asyncio.wait([ahead])
        content.close()


def _read(content: BinaryIO) -> asyncio.Task[bytes]:
    return asyncio.create_task(run_in_threadpool(content.read, BLOCK_BYTES))
