"""The gateway's end of the recorder process."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec

from tournant.errors import Unavailable
from tournant.serving.priority import give_way
from tournant.serving.spool import Segmented

__all__ = ["Recorder"]


class Recorder:
    """The gateway's end of the recorder process; used by one thread."""

    def __init__(self, log: Path, environ: Mapping[str, str]) -> None:
        """Start the process; what it says goes to `log`."""
        self._log = log
        self._environ = dict(environ)
        self._process = self._spawn()

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    def convert(self, spool: Path) -> Segmented:
        """Give the segment made of a spool file; Unavailable if the process died (the next call starts another)."""
        if self._process.poll() is not None:
            self._process = self._spawn()
        assert self._process.stdin and self._process.stdout
        try:
            self._process.stdin.write(msgspec.json.encode({"spool": str(spool)}) + b"\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except OSError as exc:
            raise Unavailable(f"the recorder process is gone ({exc}); see {self._log}") from exc
        if not line:
            self._process.wait()
            raise Unavailable(f"the recorder process ended with {self._process.returncode}; see {self._log}")
        return msgspec.json.decode(line, type=Segmented)

    def close(self) -> None:
        """End the process."""
        if self._process.stdin:
            self._process.stdin.close()
        try:
            self._process.wait(2)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)  # its fork, too
            self._process.wait()
        if self._process.stdout:
            self._process.stdout.close()

    def _spawn(self) -> subprocess.Popen[bytes]:
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "tournant.serving.recorder"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=self._environ,
                start_new_session=True,
            )
        give_way(process.pid)
        return process
