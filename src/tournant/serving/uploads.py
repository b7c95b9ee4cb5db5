"""Takes rotated spool files to the control plane: Parquet, upload by digest, registration, and only then deletion."""

from collections.abc import Callable
from pathlib import Path

import httpx
import msgspec
import structlog

from tournant.errors import Unavailable
from tournant.messages.gateway import SegmentUpload
from tournant.serving.recording import Recorder
from tournant.serving.spool import Segmented

__all__ = ["Uploads"]

_BESIDE = (".columns.json", ".parquet", ".segment.json")


class Uploads:
    """Works through the spool folder; used by one thread. What is on disk is the queue, so a restart loses nothing."""

    def __init__(
        self, folder: Path, recorder: Recorder, client: httpx.Client, gateway: str, forget: Callable[[int], None]
    ) -> None:
        """Upload the files in `folder`; `forget` is told the size of each that is done with."""
        self._folder = folder
        self._recorder = recorder
        self._client = client
        self._gateway = gateway
        self._forget = forget
        self._log = structlog.get_logger("tournant.gateway")

    def run(self) -> None:
        """Register every rotated file; Unavailable if the control plane or the recorder does not answer, then call again."""
        for spool in sorted(self._folder.glob("*.ndjson")):
            size_bytes = spool.stat().st_size
            segment = self._recorder.convert(spool)
            if segment.error:
                self._set_aside(spool, segment.error)
            elif segment.rows:
                refusal = self._register(segment)
                if refusal:
                    self._set_aside(spool, refusal)
            _remove(spool)
            self._forget(size_bytes)

    def _register(self, segment: Segmented) -> str:
        """Upload and register; give why the control plane refuses it, or nothing."""
        try:
            answer = self._client.put(
                f"/api/blobs/{segment.digest}", content=Path(segment.path).read_bytes(), timeout=60
            )
            if answer.is_success:
                upload = SegmentUpload(
                    digest=segment.digest,
                    deployment=segment.deployment,
                    gateway=self._gateway,
                    start=segment.start,
                    end=segment.end,
                    rows=segment.rows,
                    size_bytes=segment.size_bytes,
                )
                answer = self._client.post("/api/gateway/segments", content=msgspec.json.encode(upload), timeout=60)
        except httpx.HTTPError as exc:
            raise Unavailable(f"the control plane does not take segments: {exc}") from exc
        if answer.is_success:
            return ""
        refusal = f"{answer.status_code} {answer.text[:200]}"
        if answer.status_code in (400, 404, 409, 413, 422):
            return refusal
        raise Unavailable(f"the control plane does not take segments: {refusal}")

    def _set_aside(self, spool: Path, reason: str) -> None:
        """Keep a file that can never be registered where a person finds it, and go on with the others."""
        aside = self._folder / "rejected"
        aside.mkdir(exist_ok=True)
        self._log.error("predictions could not be registered", file=str(aside / spool.name), reason=reason)
        for suffix in (".ndjson", *_BESIDE):
            part = spool.with_suffix(suffix)
            if part.exists():
                part.rename(aside / part.name)


def _remove(spool: Path) -> None:
    # The spool first: without it, what lies beside it means nothing; with it, a crash here repeats the registration
    # under the same digest, which changes nothing.
    for suffix in (".ndjson", *_BESIDE):
        spool.with_suffix(suffix).unlink(missing_ok=True)
