"""A load generator that costs little: raw keep-alive connections on uvloop, one request at a time on each.

`drive` is a closed loop: as many requests in flight as connections. `drive_steadily` is an open loop: requests come when they are
due, whether or not the server keeps up, and their latency counts from then.
"""

import asyncio
import contextlib
import time
from array import array
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from itertools import cycle

import uvloop

__all__ = ["Load", "after", "drive", "drive_steadily", "request_bytes"]

LOOK_SECONDS = 0.02  # between two looks whether it is time to end
TICK_SECONDS = 0.001
LAST_ANSWER_SECONDS = 35.0
RECONNECT_SECONDS = 0.02
RETRY_SECONDS = 10.0
Done = Callable[[], bool]


@dataclass(slots=True)
class Load:
    """What the clients saw. `refused` are answers with status 503, `failed` all others but 200, in words.

    `died` counts connections that were lost with a request on them; the request is sent once more, on another one.
    """

    seconds: float = 0.0
    client_cpu_seconds: float = 0.0
    latencies_ms: "array[float]" = field(default_factory=lambda: array("d"))
    answered_at: "array[float]" = field(default_factory=lambda: array("d"))  # seconds of `time.perf_counter`
    refused_ms: "array[float]" = field(default_factory=lambda: array("d"))
    late_ms: "array[float]" = field(default_factory=lambda: array("d"))  # of the client itself
    without_retry_after: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    died: int = 0

    @property
    def requests(self) -> int:
        """All that were sent."""
        return len(self.latencies_ms) + len(self.refused_ms) + self.failed.total()

    @property
    def per_second(self) -> float:
        """Requests answered a second."""
        return len(self.latencies_ms) / self.seconds

    @property
    def not_answered(self) -> int:
        """Requests that got no prediction."""
        return len(self.refused_ms) + self.failed.total()

    @property
    def client_share(self) -> float:
        """How much of a core the client took."""
        return self.client_cpu_seconds / self.seconds

    def quantile(self, share: float) -> float:
        """A latency quantile in milliseconds."""
        return quantile(self.latencies_ms, share)

    def note(self, status: int, head: bytes, since: float) -> None:
        """Take in an answer to what was due then."""
        now = time.perf_counter()
        milliseconds = 1000 * (now - since)
        if status == 200:
            self.latencies_ms.append(milliseconds)
            self.answered_at.append(now)
        elif status == 503:
            self.refused_ms.append(milliseconds)
            self.without_retry_after += b"retry-after:" not in head.lower()
        else:
            self.failed[f"status {status}"] += 1


def quantile(values: Sequence[float], share: float) -> float:
    """Give a quantile; NaN of nothing."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


def request_bytes(port: int, path: str, body: bytes) -> bytes:
    """Write one HTTP/1.1 POST of a JSON body."""
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def after(seconds: float) -> Done:
    """Give what turns true in so many seconds from its first question."""
    deadline = 0.0

    def done() -> bool:
        nonlocal deadline
        deadline = deadline or time.perf_counter() + seconds
        return time.perf_counter() > deadline

    return done


def drive(port: int, requests: Sequence[bytes], *, connections: int, done: Done) -> Load:
    """Send the requests round and round until `done`, each connection one at a time."""
    return uvloop.run(_Closed(port, requests).run(connections, done))


def drive_steadily(port: int, requests: Sequence[bytes], *, per_second: float, connections: int, done: Done) -> Load:
    """Send the requests at a steady rate until `done`, on at most so many connections."""
    return uvloop.run(_Open(port, requests, per_second).run(connections, done))


class _Connection(asyncio.Protocol):
    """Asks one thing at a time; tells its owner of every answer, and of its end."""

    def __init__(self, owner: "_Clients") -> None:
        self._owner = owner
        self._received = b""
        self._transport: asyncio.Transport | None = None
        self.request = b""  # the one on its way
        self.since = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def ask(self, request: bytes, since: float) -> None:
        assert self._transport
        self.request, self.since = request, since
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        data = self._received + data
        end = data.find(b"\r\n\r\n")
        if end < 0 or not _whole(data, end):
            self._received = data
            return
        self._received, self.request = b"", b""
        self._owner.answered(self, int(data[9:12]), data[:end])

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio gives it
        self._owner.lost(self)

    def close(self) -> None:
        if self._transport:
            self._transport.abort()


def _whole(data: bytes, end: int) -> bool:
    head = data[:end].lower()
    if b"transfer-encoding: chunked" in head:
        return data.endswith(b"0\r\n\r\n")
    start = head.find(b"content-length:")
    if start < 0:
        raise ValueError(f"an answer without a length: {head!r}")
    stop = head.find(b"\r\n", start)
    return len(data) >= end + 4 + int(head[start + 15 : stop if stop > 0 else end])


class _Clients:
    """Connections to one server, opened again when they are lost, and what they saw."""

    def __init__(self, port: int, requests: Sequence[bytes]) -> None:
        self._port = port
        self._requests = cycle(requests)
        self._open: set[_Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.load = Load()
        self.ending = False

    async def run(self, connections: int, done: Done) -> Load:
        """Work until `done`, then wait for the last answers."""
        await asyncio.gather(*(self._connect() for _ in range(connections)))
        cpu, began = time.process_time(), time.perf_counter()
        await self._work(done)
        self.load.client_cpu_seconds = time.process_time() - cpu
        self.ending = True
        await self._last_answers()
        self.load.seconds = time.perf_counter() - began  # with the last answers: what was asked is answered by then
        for connection in self._open:
            connection.close()
        return self.load

    async def _work(self, done: Done) -> None:
        raise NotImplementedError

    def _ready(self, connection: _Connection) -> None:
        raise NotImplementedError

    def answered(self, connection: _Connection, status: int, head: bytes) -> None:
        """Take in an answer, and use the connection again."""
        self.load.note(status, head, connection.since)
        self._ready(connection)

    def lost(self, connection: _Connection) -> None:
        """Open another connection, and send there what was on its way here."""
        self._open.discard(connection)
        if connection.request:
            self.load.died += 1
        if connection.request or not self.ending:
            self._begin(self._replace(connection.request, connection.since))

    async def _replace(self, request: bytes, since: float) -> None:
        deadline = time.perf_counter() + RETRY_SECONDS
        while time.perf_counter() < deadline:
            with contextlib.suppress(OSError):
                return await self._connect(request, since)
            await asyncio.sleep(RECONNECT_SECONDS)
        self.load.failed["no connection"] += bool(request)
        return None

    async def _connect(self, request: bytes = b"", since: float = 0.0) -> None:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(lambda: _Connection(self), "127.0.0.1", self._port)
        self._open.add(connection)
        if request:
            connection.ask(request, since)
        else:
            self._ready(connection)

    def _begin(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _last_answers(self) -> None:
        deadline = time.perf_counter() + LAST_ANSWER_SECONDS
        while any(connection.request for connection in self._open):
            if time.perf_counter() > deadline:
                self.load.failed["no answer"] += sum(bool(connection.request) for connection in self._open)
                return
            await asyncio.sleep(LOOK_SECONDS)


class _Closed(_Clients):
    """Each connection asks again as soon as it has its answer."""

    async def _work(self, done: Done) -> None:
        while not done():
            await asyncio.sleep(LOOK_SECONDS)

    def _ready(self, connection: _Connection) -> None:
        if not self.ending:
            connection.ask(next(self._requests), time.perf_counter())


class _Open(_Clients):
    """Requests come when they are due; those for which no connection is free wait here, and that counts."""

    def __init__(self, port: int, requests: Sequence[bytes], per_second: float) -> None:
        super().__init__(port, requests)
        self._per_second = per_second
        self._idle: list[_Connection] = []
        self._due: deque[float] = deque()

    async def _work(self, done: Done) -> None:
        began, sent, looked = time.perf_counter(), 0, 0.0
        while True:
            now = time.perf_counter()
            if now - looked > LOOK_SECONDS:
                looked = now
                if done():
                    return
            due = int((now - began) * self._per_second)
            for number in range(sent, due):
                self._due.append(began + number / self._per_second)
            if due > sent:
                self.load.late_ms.append(1000 * (now - self._due[-(due - sent)]))
            sent = due
            while self._due and self._idle:
                self._idle.pop().ask(next(self._requests), self._due.popleft())
            await asyncio.sleep(TICK_SECONDS)

    def _ready(self, connection: _Connection) -> None:
        if self._due:
            connection.ask(next(self._requests), self._due.popleft())
        else:
            self._idle.append(connection)

    def lost(self, connection: _Connection) -> None:
        with contextlib.suppress(ValueError):
            self._idle.remove(connection)
        super().lost(connection)
