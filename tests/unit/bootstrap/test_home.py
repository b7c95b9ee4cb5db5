"""The home folder's files."""

import os
from dataclasses import replace

from tournant.bootstrap.home import ServerRecord, ensure_token, read_server, remove_server, write_server


def test_a_token_is_made_once_for_a_public_address(settings):
    """The first start on a public address makes a token; later ones find it; the file is private."""
    public = replace(settings, host="0.0.0.0")
    token = ensure_token(public).token
    assert len(token) >= 32
    assert ensure_token(public).token == token
    assert (settings.home / "token").stat().st_mode & 0o077 == 0


def test_loopback_needs_no_token(settings):
    """On loopback there is none."""
    assert ensure_token(settings).token == ""


def test_a_record_of_a_process_that_is_gone_is_ignored(settings):
    """After a crash `server.json` may be left: it counts only while its process runs."""
    record = ServerRecord(url="http://x", gateway_url="http://y", pid=os.getpid())
    write_server(settings, record)
    assert read_server(settings.home) == record
    write_server(settings, ServerRecord(url="http://x", gateway_url="http://y", pid=2**22 - 7))
    assert read_server(settings.home) is None
    remove_server(settings)
    remove_server(settings)
