"""A client's connection: HTTP/1.1 as httptools reads it, requests answered one after the other as soon as they are whole."""

import asyncio
from collections import deque
from enum import Enum, auto
from functools import partial
from typing import Any, NamedTuple

import httptools
import msgspec

from tournant.errors import TournantError
from tournant.serving.body import BODY_LIMIT_BYTES, too_large
from tournant.serving.exchange import Application, Call, Reply
from tournant.serving.failures import NotAllowed, SlowClient
from tournant.serving.heads import Heads
from tournant.serving.together import Together
from tournant.serving.wire import CLOSE, CONTINUE, KEEP, encoded, path_of

__all__ = ["Connection", "Listener"]

HEAD_SECONDS = 10.0  # for a whole head, from its first byte
BODY_SECONDS = 10.0
KEEP_ALIVE_SECONDS = 75.0  # between two requests, or before the first
LOOK_SECONDS = 0.25  # between two looks at who is late
LOOKED = 256  # connections at a time: to look at thousands would hold up everybody
HEAD_LIMIT_BYTES = 64 << 10
LINGER_BYTES = 32 << 20
LINGER_SECONDS = 2.0
TOGETHER = 16  # answers, at most, that leave together
PIPELINED = 32  # requests of one connection that wait; then it is not read


class _Phase(Enum):
    IDLE = auto()
    HEAD = auto()
    BODY = auto()
    LINGER = auto()  # answered and to be closed, but its body is still on its way


class _Asked(NamedTuple):
    """A request that waits for its turn; `unfinished` is one that is refused before its body is there."""

    call: Call
    keep: bool
    version: str
    fault: TournantError | None = None
    unfinished: bool = False


class Listener:
    """What all connections of one server share: who answers them, and the clock by which silent clients are let go."""

    def __init__(self, app: Application) -> None:
        """Let `app` answer."""
        self.app = app
        self._timer: asyncio.TimerHandle | None = None
        self._unseen: list[Connection] = []
        self.together = Together()
        self.heads = Heads()
        self._turning = False
        self._unsent: list[tuple[Any, bytes]] = []

    def connection(
        self, *, server_state: Any, _loop: asyncio.AbstractEventLoop | None = None, **_more: object
    ) -> "Connection":
        """Give the protocol of one more connection; uvicorn's server asks, and knows it by `server_state`."""
        return Connection(self, server_state, _loop or asyncio.get_running_loop())

    def watch(self, state: Any, loop: asyncio.AbstractEventLoop) -> None:
        """Look at every connection now and then, while there is any: a timer for each request would cost more than its parsing."""
        if self._timer is None:
            pause = LOOK_SECONDS * min(1, LOOKED / max(1, len(state.connections)))
            self._timer = loop.call_later(pause, self._look, state, loop)

    def arrived(self, loop: asyncio.AbstractEventLoop) -> None:
        """Note that a client's bytes are about to be read; the first such begins a turn of the event loop."""
        self.app.arrived()
        if not self._turning:
            self._turning = True
            loop.call_soon(self._turn)  # which it does when all is read

    def _turn(self) -> None:
        self.together.run()
        self.flush()
        self._turning = False
        self.app.turned()

    def write(self, transport: Any, data: bytes, loop: asyncio.AbstractEventLoop) -> None:
        """Send with what others are told in this turn of the event loop.

        A client that is woken by its answer is likely asleep again by the next one, and waking is what costs most in a write.
        """
        if not self._unsent and not self._turning:
            loop.call_soon(self.flush)
        self._unsent.append((transport, data))
        if len(self._unsent) >= TOGETHER:
            self.flush()

    def flush(self) -> None:
        """Send now."""
        unsent, self._unsent = self._unsent, []
        for transport, data in unsent:
            if not transport.is_closing():
                transport.write(data)

    def _look(self, state: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        now = loop.time()
        self._unseen = self._unseen or list(state.connections)
        some, self._unseen = self._unseen[:LOOKED], self._unseen[LOOKED:]
        for connection in some:
            connection.look(now)
        if state.connections:
            self.watch(state, loop)


class Connection(asyncio.Protocol):
    """One client's connection.

    A request is begun where it is read: no task is made for it. Whoever opens many connections and says little holds none for
    long.
    """

    def __init__(self, listener: Listener, state: Any, loop: asyncio.AbstractEventLoop) -> None:
        """Belong to `listener`; `state` is where uvicorn's server looks for connections that it has to wait for."""
        self._listener = listener
        self._app = listener.app
        self._state = state
        self._loop = loop
        self._parser: Any = httptools.HttpRequestParser(self)
        self._phase = _Phase.IDLE
        self._since = loop.time()
        self._busy = False  # something is being answered
        self._proceeding = False
        self._full = False  # the client does not read what it is told
        self._unread = False  # the client asks faster than it is answered
        self._ending = False  # no request after those that are there
        self._waiting: deque[_Asked] = deque()
        self._head_bytes = self._discarded = self._begun = 0
        self._reset()

    def _reset(self) -> None:
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._length = 0
        self._expects = False
        self._told = False
        self._fault: TournantError | None = None
        self._plain = False  # whole, and its head says all of it but the body

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the first request."""
        self._transport: Any = transport
        self._state.connections.add(self)
        self._listener.watch(self._state, self._loop)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio gives it
        """Forget what was not answered."""
        self._state.connections.discard(self)
        self._waiting.clear()
        self._parser = None  # it knows this connection: together they would wait for the garbage collector

    def data_received(self, data: bytes) -> None:
        """Take in bytes, and answer what is whole with them."""
        if self._parser is None or self._transport.is_closing():
            return
        self._listener.arrived(self._loop)
        fresh = self._phase is _Phase.IDLE
        if fresh and self._take_unparsed(data):
            return
        self._begun = 0
        try:
            self._parse(data)
        except httptools.HttpParserError as exc:
            self._give_up(400, "malformed", f"this is not HTTP: {exc}")
            return
        if self._phase is _Phase.IDLE:
            if fresh and self._begun == 1 and self._plain:
                self._listener.heads.learn(data, Call(self._method, self._path, self._headers), self._length)
            return
        if self._phase is _Phase.HEAD:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_LIMIT_BYTES:
                self._give_up(431, "too_large", f"the headers have more than {HEAD_LIMIT_BYTES >> 10} kB: send fewer")
        elif self._phase is _Phase.LINGER:
            self._discarded += len(data)
            if self._discarded > LINGER_BYTES:
                self._close()
        elif self._fault and not self._told:
            self._refuse_unfinished()

    def eof_received(self) -> bool:
        """Let the client have what it asked for before it stopped asking."""
        self._ending = True
        self._listener.flush()
        return self._busy or bool(self._waiting)

    def pause_writing(self) -> None:
        """Answer no more until the client reads."""
        self._full = True

    def resume_writing(self) -> None:
        """Go on."""
        self._full = False
        self._proceed()

    def shutdown(self) -> None:
        """End after what was asked so far."""
        self._ending = True
        if not self._busy and not self._waiting and self._phase is not _Phase.BODY:
            self._close()

    def look(self, now: float) -> None:
        """End what takes too long."""
        waited = now - self._since
        if self._busy or self._waiting or self._transport.is_closing():
            return
        if self._phase is _Phase.IDLE:
            if waited > KEEP_ALIVE_SECONDS:
                self._transport.close()
        elif self._phase is _Phase.HEAD:
            if waited > HEAD_SECONDS:
                wanted = f"the headers did not arrive within {HEAD_SECONDS:.0f} s: send them in one go"
                self._give_up(408, "slow_client", wanted)
        elif self._phase is _Phase.BODY:
            if waited > BODY_SECONDS:
                self._fault = SlowClient(f"the body did not arrive within {BODY_SECONDS:.0f} s: send it in one go")
                self._refuse_unfinished()
        elif waited > LINGER_SECONDS:
            self._transport.close()

    def _take_unparsed(self, data: bytes) -> bool:
        """Take in a request whose head need not be parsed; tell whether `data` was one."""
        free = not self._busy and not self._waiting and not self._full
        if free and (refusal := self._app.shed(data)):
            self._listener.write(self._transport, refusal, self._loop)
        elif call := self._listener.heads.read(data):
            self._take(_Asked(call, keep=True, version="1.1"))
        else:
            return False
        self._since = self._loop.time()
        return True

    # What the parser calls.

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._reset()
        self._begun += 1
        self._head_bytes = 0
        self._phase = _Phase.HEAD
        self._since = self._loop.time()

    def on_url(self, url: bytes) -> None:
        """Take in a piece of the path."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take in a header."""
        name = name.lower()
        self._headers.append((name, value))
        if name == b"content-length":
            self._length = int(value)
        elif name == b"expect":
            self._expects = value.lower() == b"100-continue"

    def on_headers_complete(self) -> None:
        """Look at what the head alone says."""
        self._phase = _Phase.BODY
        parser = self._parser
        self._method: str = parser.get_method().decode()
        self._path = path_of(self._url)
        try:
            if self._length > BODY_LIMIT_BYTES:
                raise too_large(self._length)
            if self._method == "CONNECT":
                raise NotAllowed("CONNECT is not possible: this is no proxy")
            self._app.check(Call(self._method, self._path, self._headers))
        except TournantError as exc:
            self._fault = exc
        if self._expects and not self._fault and not self._busy and not self._waiting:
            self._transport.write(CONTINUE)

    def on_body(self, body: bytes) -> None:
        """Take in a piece of the body."""
        if self._fault:
            return
        self._body.append(body)
        self._body_bytes += len(body)
        if self._body_bytes > BODY_LIMIT_BYTES:
            self._fault = too_large(self._body_bytes)
            self._body.clear()

    def on_message_complete(self) -> None:
        """Answer, or wait for the turn to be answered."""
        if (
            self._parser.should_upgrade() and not self._fault
        ):  # nothing is there to change to: it is read again without that wish
            return
        if self._told:
            if self._phase is _Phase.LINGER:
                self._close()
            self._phase = _Phase.IDLE
            return
        self._phase = _Phase.IDLE
        self._since = self._loop.time()
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        call = Call(self._method, self._path, self._headers, body)
        parser = self._parser
        keep = parser.should_keep_alive() and self._method != "CONNECT"
        version = parser.get_http_version()
        self._plain = keep and version == "1.1" and not self._fault
        self._take(_Asked(call, keep, version, self._fault))

    def _parse(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as exc:  # the parser stops behind the head, as if the rest were no HTTP
            kept = [pair for pair in self._headers if pair[0] not in (b"upgrade", b"connection", b"expect")]
            lines = b"".join([b"%b: %b\r\n" % pair for pair in kept])
            head = b"%b %b HTTP/1.1\r\n%b\r\n" % (self._method.encode(), self._url, lines)
            self._parser = httptools.HttpRequestParser(self)
            self._parser.feed_data(head + data[exc.args[0] :])

    # What becomes of requests.

    def _refuse_unfinished(self) -> None:
        self._told = True
        self._body.clear()
        call = Call(self._method, self._path, self._headers)
        self._take(_Asked(call, keep=False, version="1.1", fault=self._fault, unfinished=True))

    def _take(self, asked: _Asked) -> None:
        if not self._waiting and not self._busy and not self._full:
            self._begin(asked)
            return
        self._waiting.append(asked)
        if len(self._waiting) >= PIPELINED and not self._unread:
            self._unread = True
            self._transport.pause_reading()

    def _proceed(self) -> None:
        self._proceeding = True  # what is answered at once does not come back here, each time one call deeper
        while self._waiting and not self._busy and not self._full:
            self._begin(self._waiting.popleft())
        self._proceeding = False
        if self._unread and not self._waiting and not self._transport.is_closing():
            self._unread = False
            self._transport.resume_reading()

    def _begin(self, asked: _Asked) -> None:
        app, call = self._app, asked.call
        if asked.fault:
            self._answer(asked, app.refuse(call, asked.fault))
        else:
            self._busy = True
            self._listener.together.add(app.respond(call), partial(self._found, asked))

    def _found(self, asked: _Asked, reply: Reply | None) -> None:
        self._busy = False
        if reply is None:
            self._transport.close()
            return
        self._answer(asked, reply)
        if not self._proceeding and (self._waiting or self._unread):
            self._proceed()

    def _answer(self, asked: _Asked, reply: Reply) -> None:
        transport = self._transport
        if transport.is_closing():
            return
        last = not asked.keep or (self._ending and not self._waiting)
        persistence = CLOSE if last else KEEP if asked.version == "1.0" else b""
        data = encoded(reply, persistence, bodiless=asked.call.method == "HEAD")
        self._listener.write(transport, data, self._loop)
        self._since = self._loop.time()
        if asked.unfinished and self._phase is _Phase.BODY:
            # The rest of the body is on its way. Closing at once would reset the connection under the answer, so what still
            # comes is thrown away for a moment.
            self._phase = _Phase.LINGER
        elif last:
            self._waiting.clear()
            self._close()

    def _close(self) -> None:
        self._listener.flush()
        self._transport.close()

    def _give_up(self, status: int, code: str, message: str) -> None:
        """Say why no more of this connection is read, and close it."""
        if not self._transport.is_closing():
            body = msgspec.json.encode({"error": {"code": code, "message": message, "place": ""}})
            self._listener.write(self._transport, encoded(Reply(status, body), CLOSE, bodiless=False), self._loop)
            self._close()
