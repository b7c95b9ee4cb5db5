"""The gateway's end of one worker process: starts it, exchanges frames, notices its death."""

import asyncio
import os
import socket
import struct
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from tournant.domain.registry import Signature
from tournant.errors import Invalid
from tournant.serving.failures import ModelFailed, WorkerLost
from tournant.serving.outputs import Score
from tournant.serving.schema import Values

__all__ = ["Ran", "WorkerModel", "WorkerProcess", "columns_of"]

WORKER = Path(__file__).with_name("worker.py")
_LENGTHS = struct.Struct(">II")  # as in worker.py


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerModel:
    """What a worker is to run: `python` is the environment's interpreter, `folder` the model folder."""

    python: Path
    folder: Path
    entry: str
    predict: str
    signature: Signature
    log: Path
    environ: Mapping[str, str] = field(default_factory=dict)


class Ran(NamedTuple):
    """A batch's scores, as the model gave them, and the worker's own seconds."""

    scores: Sequence[Score]
    seconds: float


class _Frame(NamedTuple):
    header: Mapping[str, Any]
    payload: bytes


class WorkerProcess(asyncio.Protocol):
    """One running worker. One request at a time; belongs to the event loop."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        """Speak with `process` over the socket that this becomes the protocol of."""
        self._process = process
        self._received = bytearray()
        self._transport: Any = None
        self._told: Callable[[_Frame | ModelFailed], None] | None = None
        self._lost: Callable[[WorkerLost], None] = lambda _cause: None
        self._watched = -1

    @classmethod
    async def start(
        cls, model: WorkerModel, timeout_seconds: float, lost: Callable[[WorkerLost], None] = lambda _cause: None
    ) -> "WorkerProcess":
        """Start a worker and let it load; Invalid says why that fails. `lost` is called once, when it dies on its own later."""
        ours, theirs = socket.socketpair()
        # Started from the event loop's thread: the kernel ends the worker with the *thread* that made it.
        with model.log.open("ab") as log, theirs:
            try:
                process = subprocess.Popen(
                    [str(model.python), "-u", str(WORKER)],
                    stdin=theirs.fileno(),
                    stdout=log,
                    stderr=log,
                    env=dict(model.environ),
                    start_new_session=True,
                )
            except OSError as exc:
                ours.close()
                raise Invalid(f"the environment's interpreter {model.python.name!r} does not start: {exc}") from exc
        ours.setblocking(False)  # noqa: FBT003 - the standard library's signature
        _, worker = await asyncio.get_running_loop().create_connection(lambda: cls(process), sock=ours)
        try:
            async with asyncio.timeout(timeout_seconds):
                await worker._load(model)
        except TimeoutError as exc:
            await worker.end()
            raise Invalid(f"the model did not load within {timeout_seconds:.0f} s in its worker") from exc
        except WorkerLost as exc:
            await worker.end()
            raise Invalid(f"the worker ended while loading ({exc.message}); see {model.log.name}") from exc
        except BaseException:
            await worker.end()
            raise
        worker._lost = lost
        worker._watch()
        return worker

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    def predict(
        self, columns: Mapping[str, Sequence[Any]], rows: int, told: Callable[[Ran | ModelFailed], None]
    ) -> None:
        """Run one batch; `told` is given what comes of it, and nothing when the process is lost meanwhile."""

        def answered(answer: _Frame | ModelFailed) -> None:
            if isinstance(answer, ModelFailed):
                told(answer)
            else:  # the scores are checked by check_scores
                told(Ran(msgspec.json.decode(answer.payload), answer.header["seconds"]))

        self._ask({"op": "predict", "rows": rows}, msgspec.json.encode(columns), answered)

    def kill(self) -> None:
        """Kill the process, and hear no more of it; `end` waits for it."""
        self._told, self._lost = None, lambda _cause: None
        self._unwatch()
        self._transport.abort()
        self._process.kill()

    async def end(self) -> None:
        """Kill the process and wait for it."""
        self.kill()
        while self._process.poll() is None:
            await asyncio.sleep(0.002)

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for what is asked."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Take in bytes, and tell of an answer that is whole with them."""
        self._received += data
        try:
            frame = _frame(self._received)
            if frame is None:
                return
            self._received.clear()
            answer = frame if frame.header["ok"] else ModelFailed(f"the model raised {frame.header['error']}")
        except (msgspec.DecodeError, KeyError) as exc:
            self._end(f"it sent what is no answer: {exc}")
            return
        told, self._told = self._told, None
        if told:
            told(answer)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio gives it
        """Tell that it is lost."""
        self._end(self._exit())

    def _end(self, reason: str) -> None:
        lost = self._lost
        self.kill()
        lost(WorkerLost(f"the worker process ended ({reason})"))

    def _watch(self) -> None:
        """Notice the process's death even where a process of its own holds its socket; on Linux."""
        if not hasattr(os, "pidfd_open"):
            return
        self._watched = os.pidfd_open(self._process.pid)
        asyncio.get_running_loop().add_reader(self._watched, lambda: self._end(self._exit()))

    def _unwatch(self) -> None:
        if self._watched >= 0:
            asyncio.get_running_loop().remove_reader(self._watched)
            os.close(self._watched)
            self._watched = -1

    async def _load(self, model: WorkerModel) -> None:
        loaded: asyncio.Future[_Frame | ModelFailed] = asyncio.get_running_loop().create_future()

        def lost(cause: WorkerLost) -> None:
            if not loaded.done():
                loaded.set_exception(cause)

        self._lost = lost
        header = {
            "op": "load",
            "folder": str(model.folder),
            "entry": model.entry,
            "predict": model.predict,
            "kind": model.signature.output.kind,
            "columns": [[column.name, str(column.type)] for column in model.signature.inputs],
        }
        self._ask(header, b"", loaded.set_result)
        answer = await loaded
        if isinstance(answer, ModelFailed):
            raise Invalid(f"the model does not load in its environment: {answer.message}")
        if self._transport.is_closing():
            raise WorkerLost(f"the worker process ended ({self._exit()})")

    def _ask(self, header: Mapping[str, object], payload: bytes, told: Callable[[_Frame | ModelFailed], None]) -> None:
        assert self._told is None
        self._told = told
        encoded = msgspec.json.encode(header)
        self._transport.write(_LENGTHS.pack(len(encoded), len(payload)) + encoded + payload)

    def _exit(self) -> str:
        code = self._process.poll()
        return "its socket closed" if code is None else f"exit code {code}"


def columns_of(signature: Signature, rows: Sequence[Values]) -> dict[str, Sequence[Any]]:
    """Turn rows into lists by column name."""
    names = [column.name for column in signature.inputs]
    return dict(zip(names, zip(*rows, strict=True), strict=True))


def _frame(received: bytearray) -> _Frame | None:
    """Read the one frame that a worker sends a request; None while it is not whole."""
    if len(received) < _LENGTHS.size:
        return None
    header_size, payload_size = _LENGTHS.unpack_from(received)
    begin = _LENGTHS.size + header_size
    if len(received) < begin + payload_size:
        return None
    return _Frame(msgspec.json.decode(received[_LENGTHS.size : begin]), bytes(received[begin : begin + payload_size]))
