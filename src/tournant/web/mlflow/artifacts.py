"""MLflow's artifacts: listing a run's and a logged model's, and the proxy that streams files in and out."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from typing import Any, BinaryIO
from urllib.parse import quote
from uuid import uuid4

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from tournant.api.operation import Operation
from tournant.errors import Invalid, NotFound, TournantError
from tournant.services import artifacts, tracking
from tournant.services.artifacts import ArtifactEntry, artifact_path
from tournant.services.context import Context
from tournant.services.logged_models import get_logged_model
from tournant.services.versions import find_version
from tournant.web.mlflow.errors import error_answer, unexpected_answer
from tournant.web.mlflow.requests import Int, Message, read_request
from tournant.web.streams import BLOCK_BYTES, read_blocks, receive

__all__ = ["OPERATIONS", "artifact_routes"]

MOST_PARTS = 10_000
Handler = Callable[[Request], Awaitable[Response]]


class ListArtifacts(Message, frozen=True, kw_only=True):
    """A folder of a run's artifacts."""

    run_id: str = ""
    run_uuid: str = ""
    path: str = ""
    page_token: str = ""


class ListModelArtifacts(Message, frozen=True, kw_only=True):
    """A folder of a logged model's artifacts."""

    model_id: str
    artifact_directory_path: str = ""
    page_token: str = ""


class FileInfo(Message, frozen=True, kw_only=True):
    """A file or a folder."""

    path: str
    is_dir: bool
    file_size: int | None = None


class ListedArtifacts(Message, frozen=True, kw_only=True):
    """What stands in a folder."""

    root_uri: str
    files: list[FileInfo] = []


class Files(Message, frozen=True, kw_only=True):
    """What stands in a folder of the proxy."""

    files: list[FileInfo] = []


def list_run_artifacts(ctx: Context, request: ListArtifacts) -> ListedArtifacts:
    """List a folder of a run's artifacts."""
    return _list(ctx, tracking.get_run(ctx, request.run_id or request.run_uuid).artifact_location, request.path)


def list_model_artifacts(ctx: Context, request: ListModelArtifacts) -> ListedArtifacts:
    """List a folder of a logged model's artifacts."""
    return _list(ctx, get_logged_model(ctx, request.model_id).artifact_location, request.artifact_directory_path)


def _list(ctx: Context, location: str, path: str) -> ListedArtifacts:
    root = artifact_path(location)
    if not root:
        raise Invalid(f"the artifacts are at {location}, which this server does not keep: list them there")
    found = artifacts.list_artifacts(ctx, artifact_path(location, path))
    return ListedArtifacts(root_uri=location, files=[_file(entry, entry.path[len(root) + 1 :]) for entry in found])


def _file(entry: ArtifactEntry, path: str) -> FileInfo:
    return FileInfo(path=path, is_dir=entry.size_bytes is None, file_size=entry.size_bytes)


OPERATIONS: tuple[Operation[Any, Any], ...] = (
    Operation(
        name="mlflow.artifacts.list",
        method="GET",
        path="/2.0/mlflow/artifacts/list",
        request=ListArtifacts,
        response=ListedArtifacts,
        handler=list_run_artifacts,
    ),
    Operation(
        name="mlflow.logged-models.artifacts",
        method="GET",
        path="/2.0/mlflow/logged-models/{model_id}/artifacts/directories",
        request=ListModelArtifacts,
        response=ListedArtifacts,
        handler=list_model_artifacts,
    ),
)


class CreateUpload(Message, frozen=True, kw_only=True):
    """An upload in parts."""

    num_parts: Int = 1
    path: str = ""


class Credential(Message, frozen=True, kw_only=True):
    """Where a part goes."""

    url: str
    part_number: int
    headers: dict[str, str] = {}


class CreatedUpload(Message, frozen=True, kw_only=True):
    """Where the parts go."""

    upload_id: str
    credentials: list[Credential]


class Part(Message, frozen=True, kw_only=True):
    """A part that was uploaded: `etag` is its content's digest."""

    part_number: Int
    etag: str
    url: str = ""


class CompleteUpload(Message, frozen=True, kw_only=True):
    """The parts that make a file."""

    upload_id: str
    parts: list[Part]
    path: str = ""


class Proxy:
    """Handlers of the artifact proxy over one context."""

    def __init__(self, ctx: Context) -> None:
        """Store to and read from `ctx`."""
        self._ctx = ctx

    async def download(self, request: Request) -> Response:
        """Send a file."""
        return await self._send(request.path_params["path"])

    async def upload(self, request: Request) -> Response:
        """Store a file as it comes in."""
        path, size = artifacts.clean_path(request.path_params["path"]), request.headers.get("content-length")

        def store(content: BinaryIO) -> None:
            artifacts.put_artifact(self._ctx, path, content, size_bytes=int(size) if size else None)

        await receive(_chunks(request), store)
        return _json({})

    async def delete(self, request: Request) -> Response:
        """Delete a file or a folder."""
        await run_in_threadpool(artifacts.delete_artifacts, self._ctx, request.path_params["path"])
        return _json({})

    async def list(self, request: Request) -> Response:
        """List a folder."""
        path = artifacts.clean_path(request.query_params.get("path", ""))
        found = await run_in_threadpool(artifacts.list_artifacts, self._ctx, path)
        return _json(Files(files=[_file(entry, entry.path.rpartition("/")[2]) for entry in found]))

    async def create_upload(self, request: Request) -> Response:
        """Say where the parts of a large file go: to the content store, each by itself."""
        wanted: CreateUpload = read_request(CreateUpload, await request.body(), b"", {})
        if not 1 <= wanted.num_parts <= MOST_PARTS:
            raise Invalid(f"a file has 1 to {MOST_PARTS} parts, not {wanted.num_parts}")
        artifacts.clean_path(_file_path(request, wanted.path))
        upload = uuid4().hex
        base = f"{request.url.scheme}://{request.url.netloc}/api/2.0/mlflow-artifacts/mpu/part/{upload}"
        credentials = [Credential(url=f"{base}/{n}", part_number=n) for n in range(1, wanted.num_parts + 1)]
        return _json(CreatedUpload(upload_id=upload, credentials=credentials))

    async def upload_part(self, request: Request) -> Response:
        """Store a part; its ETag is its digest."""
        digest = await receive(_chunks(request), self._ctx.blobs.put)
        return Response(headers={"ETag": digest})

    async def complete_upload(self, request: Request) -> Response:
        """Put the parts together."""
        wanted: CompleteUpload = read_request(CompleteUpload, await request.body(), b"", {})
        digests = [part.etag.strip('"') for part in sorted(wanted.parts, key=lambda part: part.part_number)]
        joined = _Joined(self._ctx, digests)
        path = _file_path(request, wanted.path)
        await run_in_threadpool(artifacts.put_artifact, self._ctx, path, joined)  # type: ignore[arg-type] # it reads
        return _json({})

    async def abort_upload(self, _request: Request) -> Response:
        """Forget an upload: its parts go with the next purge."""
        return _json({})

    async def run_file(self, request: Request) -> Response:
        """Send a file of a run or of a logged model."""
        given = request.query_params
        path = given.get("path", "")
        if "model_id" in given:
            location = (await run_in_threadpool(get_logged_model, self._ctx, given["model_id"])).artifact_location
        else:
            run = given.get("run_id") or given.get("run_uuid", "")
            location = (await run_in_threadpool(tracking.get_run, self._ctx, run)).artifact_location
        return await self._send(_kept(location, path))

    async def version_file(self, request: Request) -> Response:
        """Send a file of a model version."""
        given = request.query_params
        version = await run_in_threadpool(find_version, self._ctx, given.get("name", ""), given.get("version", ""))
        return await self._send(_kept(version.artifact_location or version.source, given.get("path", "")))

    async def _send(self, path: str) -> Response:
        artifact = await run_in_threadpool(artifacts.get_artifact, self._ctx, path)
        content = await run_in_threadpool(self._ctx.blobs.open, artifact.digest)
        headers = {
            "Content-Length": str(artifact.size_bytes),
            "Content-Disposition": f"attachment; filename*=UTF-8''{quote(artifact.name)}",
            "X-Content-Type-Options": "nosniff",
        }
        return StreamingResponse(read_blocks(content), headers=headers, media_type="application/octet-stream")


class _Joined:
    """Several contents read as one."""

    def __init__(self, ctx: Context, digests: Sequence[str]) -> None:
        self._blocks = self._read_all(ctx, digests)

    @staticmethod
    def _read_all(ctx: Context, digests: Sequence[str]) -> Iterator[bytes]:
        for digest in digests:
            with ctx.blobs.open(digest) as content:
                while block := content.read(BLOCK_BYTES):
                    yield block

    def read(self, _size: int = -1) -> bytes:
        return next(self._blocks, b"")


def artifact_routes(ctx: Context) -> list[Route]:
    """Give the proxy's routes, and those of single files."""
    proxy = Proxy(ctx)
    routes: list[Route] = []
    for prefix in ("/api", "/ajax-api"):
        base = f"{prefix}/2.0/mlflow-artifacts"
        routes += [
            Route(f"{base}/artifacts", _guarded(proxy.list)),
            Route(f"{base}/artifacts/{{path:path}}", _guarded(proxy.upload), methods=["PUT"]),
            Route(f"{base}/artifacts/{{path:path}}", _guarded(proxy.download), methods=["GET"]),
            Route(f"{base}/artifacts/{{path:path}}", _guarded(proxy.delete), methods=["DELETE"]),
            Route(f"{base}/mpu/create/{{path:path}}", _guarded(proxy.create_upload), methods=["POST"]),
            Route(f"{base}/mpu/part/{{upload}}/{{part:int}}", _guarded(proxy.upload_part), methods=["PUT"]),
            Route(f"{base}/mpu/complete/{{path:path}}", _guarded(proxy.complete_upload), methods=["POST"]),
            Route(f"{base}/mpu/abort/{{path:path}}", _guarded(proxy.abort_upload), methods=["POST"]),
        ]
    for path in ("/get-artifact", "/ajax-api/2.0/mlflow/get-artifact"):
        routes.append(Route(path, _guarded(proxy.run_file)))
    routes.append(Route("/model-versions/get-artifact", _guarded(proxy.version_file)))
    return routes


def _file_path(request: Request, name: str) -> str:
    """Give where a file in parts goes: the folder stands in the address, its name in the body."""
    return "/".join(filter(None, (request.path_params["path"].strip("/"), name.rpartition("/")[2])))


async def _chunks(request: Request) -> AsyncIterator[bytes]:
    async for chunk in request.stream():
        yield chunk


def _kept(location: str, path: str) -> str:
    found = artifact_path(location, path)
    if not found:
        raise NotFound(f"the artifacts are at {location}, which this server does not keep")
    return found


def _json(value: object) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")


def _guarded(handler: Handler) -> Handler:
    async def endpoint(request: Request) -> Response:
        try:
            return await handler(request)
        except TournantError as exc:
            status, content = error_answer(exc)
        except Exception as exc:
            status, content = unexpected_answer(request.url.path, exc)
        return Response(content, status, media_type="application/json")

    return endpoint
