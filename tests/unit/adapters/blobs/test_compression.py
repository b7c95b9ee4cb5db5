"""Compression where it pays."""

import os

from tournant.adapters.blobs.compression import Compression
from tournant.adapters.blobs.pack import Codec


def test_text_is_compressed_and_noise_is_left_alone():
    """Each by its own label, so that noise in between does not stop it."""
    compression = Compression()
    for _ in range(200):
        assert compression.encode(b"a,b,c\n1,2,3\n" * 100, ".csv")[0] == Codec.ZSTD
        codec, stored = compression.encode(noise := os.urandom(2_000), ".jpg")
        assert (codec, stored) == (Codec.RAW, noise)


def test_noise_is_hardly_ever_tried():
    """Trying costs time, and content that did not shrink seldom begins to."""
    compression = Compression()
    tried = []
    compression._zstd = type("Counting", (), {"compress": lambda _, data: tried.append(1) or data})()
    for _ in range(1_000):
        compression.encode(b"x" * 200, ".jpg")
    assert len(tried) < 30
