"""Flushing a file while it is written: nothing that went wrong is forgotten."""

import os

import pytest

from tournant.adapters.blobs import files
from tournant.adapters.blobs.files import FlushBehind


def test_a_file_is_flushed_while_more_comes(tmp_path, monkeypatch):
    """Once there is enough of it; a small one is not."""
    flushed = []
    monkeypatch.setattr(files, "FLUSH_BYTES", 10)
    monkeypatch.setattr(files.os, "fdatasync", flushed.append)
    with (tmp_path / "f").open("wb") as file:
        with FlushBehind(file.fileno()) as flush:
            flush.wrote(9)
            assert not flushed
            flush.wrote(1)
        assert flushed == [file.fileno()]


def test_what_could_not_be_flushed_is_told(tmp_path, monkeypatch):
    """The system tells an error once: the flush at the end would find nothing wrong."""
    monkeypatch.setattr(files, "FLUSH_BYTES", 1)
    descriptor = os.open(tmp_path / "f", os.O_WRONLY | os.O_CREAT)
    os.close(descriptor)
    with pytest.raises(OSError, match="descriptor"), FlushBehind(descriptor) as flush:
        flush.wrote(1)
