"""SQLite files as several threads and processes open them at once, the first of all times too."""

import sqlite3
import time

__all__ = ["create_tables", "write_ahead"]

LOCKED_SECONDS = 30.0
PAUSE_SECONDS = 0.005


def write_ahead(connection: sqlite3.Connection) -> None:
    """Let a file have a write-ahead log; sqlite3.OperationalError if it is locked for half a minute.

    SQLite itself does not wait here, whatever its timeout: who opens a new file while another does is told that it is locked.
    """
    deadline = time.monotonic() + LOCKED_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as exc:
            if exc.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(PAUSE_SECONDS)
        else:
            return


def create_tables(connection: sqlite3.Connection, script: str) -> None:
    """Run a script of `CREATE … IF NOT EXISTS` as one change: nobody finds the half of it."""
    connection.executescript(f"BEGIN IMMEDIATE; {script} COMMIT;")
