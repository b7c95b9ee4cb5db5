"""The gateway's end of one worker process: starts it, exchanges frames, notices its death."""

import asyncio
import os
import socket
import struct
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from tournant.domain.registry import Signature
from tournant.errors import Invalid
from tournant.serving.failures import ModelFailed, WorkerLost
from tournant.serving.outputs import Score
from tournant.serving.schema import Values

__all__ = ["WorkerModel", "WorkerProcess", "columns_of"]

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


class WorkerProcess:
    """One running worker. One request at a time; belongs to the event loop."""

    def __init__(
        self, process: subprocess.Popen[bytes], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Speak with `process` over an open socket."""
        self._process = process
        self._reader = reader
        self._writer = writer
        self._watched = -1
        self.ended = False

    @classmethod
    async def start(
        cls, model: WorkerModel, timeout_seconds: float, ended: Callable[[], None] = lambda: None
    ) -> "WorkerProcess":
        """Start a worker and let it load; Invalid says why that fails. `ended` is called when it dies on its own."""
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
        reader, writer = await asyncio.open_connection(sock=ours, limit=1 << 20)
        worker = cls(process, reader, writer)
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
        worker._watch(ended)
        return worker

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    async def predict(self, columns: Mapping[str, Sequence[Any]], rows: int) -> tuple[Sequence[Score], float]:
        """Run one batch; give its scores and the worker's own seconds. ModelFailed if the model raised, WorkerLost if the process went away."""
        payload = msgspec.json.encode(columns)
        header, body = await self._exchange({"op": "predict", "rows": rows}, payload)
        return msgspec.json.decode(body), header["seconds"]  # the scores are checked by check_scores

    async def end(self) -> None:
        """Kill the process and wait for it."""
        self._unwatch()
        self._writer.close()
        self._process.kill()
        while self._process.poll() is None:
            await asyncio.sleep(0.002)

    def _watch(self, ended: Callable[[], None]) -> None:
        """Notice the process's death while it has nothing to do; elsewhere than on Linux the next request does."""
        if not hasattr(os, "pidfd_open"):
            return

        def noticed() -> None:
            self.ended = True
            self._unwatch()
            ended()

        self._watched = os.pidfd_open(self._process.pid)
        asyncio.get_running_loop().add_reader(self._watched, noticed)

    def _unwatch(self) -> None:
        if self._watched >= 0:
            asyncio.get_running_loop().remove_reader(self._watched)
            os.close(self._watched)
            self._watched = -1

    async def _load(self, model: WorkerModel) -> None:
        header = {
            "op": "load",
            "folder": str(model.folder),
            "entry": model.entry,
            "predict": model.predict,
            "kind": model.signature.output.kind,
            "columns": [[column.name, str(column.type)] for column in model.signature.inputs],
        }
        try:
            await self._exchange(header, b"")
        except WorkerLost:
            raise
        except ModelFailed as exc:
            raise Invalid(f"the model does not load in its environment: {exc.message}") from exc

    async def _exchange(self, header: Mapping[str, object], payload: bytes) -> tuple[Mapping[str, Any], bytes]:
        encoded = msgspec.json.encode(header)
        try:
            self._writer.write(_LENGTHS.pack(len(encoded), len(payload)) + encoded + payload)
            await self._writer.drain()
            sizes = _LENGTHS.unpack(await self._reader.readexactly(_LENGTHS.size))
            answer = msgspec.json.decode(await self._reader.readexactly(sizes[0]))
            body = await self._reader.readexactly(sizes[1])
        except (OSError, EOFError) as exc:
            raise WorkerLost(f"the worker process ended ({self._exit()})") from exc
        if not answer["ok"]:
            raise ModelFailed(f"the model raised {answer['error']}")
        return answer, body

    def _exit(self) -> str:
        code = self._process.poll()
        return "its socket closed" if code is None else f"exit code {code}"


def columns_of(signature: Signature, rows: Sequence[Values]) -> dict[str, Sequence[Any]]:
    """Turn rows into lists by column name."""
    names = [column.name for column in signature.inputs]
    return dict(zip(names, zip(*rows, strict=True), strict=True))
