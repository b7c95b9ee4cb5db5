"""`/runs/{id}/artifacts`: a run's files, each with a preview, and the addresses that send them.

What people have logged is never run: a preview is text or a table of it, only pictures are sent to be shown, under a policy
that lets them do nothing, and everything else is sent to be kept as a file.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from tournant.domain.tracking import Run
from tournant.errors import Invalid, NotFound
from tournant.ports import UnitOfWork
from tournant.services.context import Context
from tournant.services.previews import Preview, image_type, preview_file
from tournant.services.run_files import ARTIFACTS, Listing, RunFile, find_run_file, list_run_files
from tournant.web.pages.ask import Ask, Crumb, Page, Verdict, View
from tournant.web.pages.formats import bytes_text, plural
from tournant.web.streams import read_blocks

__all__ = ["PAGES", "ArtifactsPage", "artifact_routes", "files_address"]

Handler = Callable[[Request], Awaitable[Response]]
SEALED = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
HEAD_BYTES = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactsPage(View):
    """A folder of a run's files, or one file with its preview."""

    run: Run
    path: str
    listing: Listing | None = None
    file: RunFile | None = None
    preview: Preview | None = None
    download: str = ""
    image: str = ""


def files_address(run_id: str, path: str = "", verb: str = "") -> str:
    """Give the address of a run's file or folder; `verb` is `download` or `image`."""
    query = "?" + urlencode({"path": path}, safe="/", quote_via=quote) if path else ""
    return f"/runs/{run_id}/artifacts{'/' + verb if verb else ''}{query}"


def show_artifacts(ask: Ask) -> ArtifactsPage:
    """Show a folder or a file."""
    run = _run(ask.uow, ask.path["id"])
    path = ask.query.get("path", "").strip("/")
    file = find_run_file(ask.uow, ask.blobs, run, path) if path else None
    if file is None:
        return _folder(ask, run, path)
    preview = preview_file(ask.blobs, file.title, file.digest, file.size_bytes or 0)
    shown = {"none": "Not shown", "json": "JSON"}.get(preview.kind, preview.kind.capitalize())
    return ArtifactsPage(
        title=file.title,
        crumbs=_crumbs(run, path),
        command=f"tournant runs show {run.id[:12]}",
        verdict=Verdict(
            tone="idle", head=f"{bytes_text(file.size_bytes or 0)}. {shown}.", text=preview.note, note=file.digest
        ),
        now=ask.now,
        run=run,
        path=path,
        file=file,
        preview=preview,
        download=files_address(run.id, path, "download"),
        image=files_address(run.id, path, "image") if preview.kind == "image" else "",
    )


def _folder(ask: Ask, run: Run, path: str) -> ArtifactsPage:
    listing = list_run_files(ask.uow, ask.blobs, run, path)
    if path and not listing.files and not listing.elsewhere:
        raise NotFound(f"Run {run.name} has no artifact {path!r}.")
    folders = sum(file.folder for file in listing.files)
    counts = [plural(n, noun) for n, noun in ((folders, "folder"), (len(listing.files) - folders, "file")) if n]
    text = f"Artifacts are at {listing.elsewhere}, which this server does not keep." if listing.elsewhere else ""
    return ArtifactsPage(
        title=path.rpartition("/")[2] or f"Artifacts of {run.name}",
        crumbs=_crumbs(run, path),
        command=f"tournant runs show {run.id[:12]}",
        verdict=Verdict(
            tone="idle",
            head=f"{' and '.join(counts)}{', and more' if listing.more else ''}."
            if counts
            else "Nothing is stored here.",
            text=text,
        ),
        now=ask.now,
        run=run,
        path=path,
        listing=listing,
    )


def _crumbs(run: Run, path: str) -> tuple[Crumb, ...]:
    found = [
        Crumb(text="Runs", href="/runs"),
        Crumb(text=run.name, href=f"/runs/{run.id}"),
        Crumb(text="Artifacts", href=files_address(run.id) if path else ""),
    ]
    parts = path.split("/") if path else []
    for i, part in enumerate(parts):
        if i == 0 and part == ARTIFACTS:  # which is what they all are called
            continue
        last = i + 1 == len(parts)
        found.append(Crumb(text=part, href="" if last else files_address(run.id, "/".join(parts[: i + 1]))))
    return tuple(found)


def _run(uow: UnitOfWork, run_id: str) -> Run:
    run = uow.runs.get(run_id) if "\0" not in run_id else None
    if run is None:
        raise NotFound(f"There is no run {run_id!r}.")
    return run


def artifact_routes(ctx: Context, guarded: Callable[[Handler], Handler]) -> list[Route]:
    """Give the addresses that send a file: to keep it, or, of a picture, to show it."""

    def find(request: Request) -> RunFile:
        with ctx.transactions.begin(write=False) as uow:
            run, path = _run(uow, request.path_params["id"]), request.query_params.get("path", "")
            file = find_run_file(uow, ctx.blobs, run, path)
        if file is None:
            raise NotFound(f"Run {run.name} has no file {path!r}.")
        return file

    async def send(file: RunFile, media_type: str, disposition: str) -> Response:
        content = await run_in_threadpool(ctx.blobs.open, file.digest)
        headers = {
            **SEALED,
            "Content-Length": str(file.size_bytes),
            "Content-Disposition": f"{disposition}; filename*=UTF-8''{quote(file.title, safe='')}",
        }
        return StreamingResponse(read_blocks(content), headers=headers, media_type=media_type)

    async def download(request: Request) -> Response:
        return await send(await run_in_threadpool(find, request), "application/octet-stream", "attachment")

    async def image(request: Request) -> Response:
        def read() -> tuple[RunFile, str]:
            file = find(request)
            with ctx.blobs.open(file.digest) as content:
                return file, image_type(file.title, content.read(HEAD_BYTES))

        file, media_type = await run_in_threadpool(read)
        if not media_type:
            raise Invalid(f"{file.title} is no picture that a page may show; download it.", place="path")
        return await send(file, media_type, "inline")

    return [
        Route("/runs/{id}/artifacts/download", guarded(download)),
        Route("/runs/{id}/artifacts/image", guarded(image)),
    ]


PAGES = (Page(path="/runs/{id}/artifacts", template="artifacts.html", section="runs", view=show_artifacts),)
