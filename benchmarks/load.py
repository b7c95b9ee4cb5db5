"""A load generator that costs little: raw keep-alive connections in one asyncio process."""

import asyncio
import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Load:
    """What a closed loop of `connections` clients measured."""

    requests: int
    failed: int
    seconds: float
    latencies_ms: list[float]

    @property
    def per_second(self) -> float:
        """Requests answered a second."""
        return self.requests / self.seconds

    def quantile(self, share: float) -> float:
        """A latency quantile in milliseconds."""
        ordered = sorted(self.latencies_ms)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def request_bytes(port: int, path: str, body: bytes) -> bytes:
    """Write one HTTP/1.1 POST of a JSON body."""
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def drive(port: int, requests: list[bytes], *, connections: int) -> Load:
    """Send the requests, each connection one at a time, and time every answer."""
    queue = iter(requests)
    latencies: list[float] = []
    failed = 0

    async def worker() -> None:
        nonlocal failed
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            for request in queue:
                began = time.perf_counter()
                writer.write(request)
                failed += not await _answered(reader)
                latencies.append(1000 * (time.perf_counter() - began))
        finally:
            writer.close()

    began = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(connections)))
    return Load(len(latencies), failed, time.perf_counter() - began, latencies)


async def _answered(reader: asyncio.StreamReader) -> bool:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    await reader.readexactly(int(head.partition(b"content-length:")[2].partition(b"\r\n")[0]))
    return head.split(b" ", 2)[1] == b"200"
