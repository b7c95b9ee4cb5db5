"""A real S3 server on loopback: SeaweedFS, which heeds conditional puts."""

import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PARTS = ("s3.port", "master.port", "volume.port", "filer.port")
OTHERS = ("master.port.grpc", "volume.port.grpc", "filer.port.grpc", "s3.port.grpc", "metricsPort")


@contextmanager
def s3_server(*buckets: str) -> Iterator[dict[str, str]]:
    """Run a server with some buckets; give the environment variables by which S3 clients find it."""
    folder = tempfile.mkdtemp(prefix="s3-")
    ports = dict(zip((*PARTS, *OTHERS), _free_ports(len(PARTS) + len(OTHERS)), strict=True))
    with (Path(folder) / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                str(Path(sys.executable).parent / "weed"),
                *("server", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3", "-filer"),
                *(
                    "-volume.max=20",
                    "-master.volumeSizeLimitMB=64",
                    *(f"-{name}={port}" for name, port in ports.items()),
                ),
            ],
            stdout=log,
            stderr=log,
        )
        address = f"http://127.0.0.1:{ports['s3.port']}"
        try:
            for bucket in buckets:
                _make_bucket(f"{address}/{bucket}", process)
            yield {
                "AWS_ENDPOINT_URL": address,
                "AWS_ACCESS_KEY_ID": "any",
                "AWS_SECRET_ACCESS_KEY": "any",
                "AWS_REGION": "us-east-1",
                "AWS_ALLOW_HTTP": "true",
                "S3_METRICS_URL": f"http://127.0.0.1:{ports['metricsPort']}/metrics",
            }
        finally:
            process.kill()  # its own ending takes half a minute
            process.wait()
            shutil.rmtree(folder, ignore_errors=True)


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def _make_bucket(address: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(urllib.request.Request(address, method="PUT"), timeout=5):
                return
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.2)
