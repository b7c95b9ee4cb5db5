"""A control plane in a process of its own, that can be killed and started again."""

import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

__all__ = ["Server"]


class Server:
    """A control plane on a free port, that can be killed and started again."""

    def __init__(self, home: Path) -> None:
        self.home = home
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start, and wait until it answers."""
        command = [sys.executable, "-m", "tournant.bootstrap.control_plane"]
        self.process = subprocess.Popen([*command, "--home", str(self.home), "--port", str(self.port)])
        deadline = time.monotonic() + 60
        while True:
            try:
                with urllib.request.urlopen(f"{self.url}/health", timeout=2):
                    return
            except OSError:
                assert time.monotonic() < deadline and self.process.poll() is None, "the control plane did not start"
                time.sleep(0.05)

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End it by a signal."""
        assert self.process
        self.process.send_signal(number)
        self.process.wait(30)
