"""Whether an object is worth compressing: tried, and for a while not tried again on content that did not shrink."""

import zstandard

from tournant.adapters.blobs.pack import Codec

__all__ = ["Compression"]

LEVEL = 3
SMALLEST_BYTES = 96
WORTH = 0.9  # of its size at most: less gain does not pay for decompressing
LONGEST_PAUSE = 64


class Compression:
    """Compresses with zstd; content is told apart by a label such as a file's suffix, since one folder mixes text and images."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self._zstd = zstandard.ZstdCompressor(level=LEVEL, write_checksum=False)
        self._pauses: dict[str, list[int]] = {}  # label: [objects not to try, length of the next pause]

    def encode(self, data: bytes | memoryview, label: str) -> tuple[Codec, bytes | memoryview]:
        """Give the codec chosen and the bytes to store."""
        if len(data) < SMALLEST_BYTES:
            return Codec.RAW, data
        pause = self._pauses.setdefault(label, [0, 1])
        if pause[0]:
            pause[0] -= 1
            return Codec.RAW, data
        smaller = self._zstd.compress(data)
        if len(smaller) <= WORTH * len(data):
            pause[1] = 1
            return Codec.ZSTD, smaller
        pause[:] = pause[1], min(2 * pause[1], LONGEST_PAUSE)
        return Codec.RAW, data
