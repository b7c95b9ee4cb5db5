"""The dashboard's own files: bundled, compressed once, addressed by content hash, cached for good."""

import gzip
import hashlib
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

__all__ = ["FOLDER", "Statics"]

FOLDER = Path(__file__).parent.parent / "static"
# What one address is made of; a part of vendor/ that was not built (no Node) is left out, and the pages do without.
BUNDLES = {
    "app.css": ("vendor/fonts.css", "vendor/uPlot.min.css", "app.css"),
    "app.js": ("vendor/htmx.min.js", "vendor/hx-sse.min.js", "app.js", "runs.js"),
    "charts.js": ("vendor/uPlot.iife.min.js", "charts.js", "curves.js"),
    "vendor/inter.woff2": ("vendor/inter.woff2",),
    "vendor/mono.woff2": ("vendor/mono.woff2",),
}
TYPES = {".css": "text/css", ".js": "text/javascript", ".woff2": "font/woff2"}
YEAR = "public, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True)
class _File:
    content: bytes
    zipped: bytes
    type: str


class Statics:
    """Serves the files of one folder under `/static/<hash>/`."""

    def __init__(self, folder: Path = FOLDER) -> None:
        """Read, bundle and compress the folder's files."""
        self._files = {name: file for name, parts in BUNDLES.items() if (file := _bundle(folder, name, parts))}
        whole = hashlib.sha256(b"\0".join(file.content for file in self._files.values()))
        self.base = f"/static/{whole.hexdigest()[:12]}"

    def has(self, name: str) -> bool:
        """Tell whether a file was built."""
        return name in self._files

    async def answer(self, request: Request) -> Response:
        """Answer with a file; an address of another hash (an older page) gets today's, uncached."""
        file = self._files.get(request.path_params["name"])
        if file is None:
            return PlainTextResponse("there is no such file", 404)
        current = request.url.path.startswith(self.base + "/")
        headers = {
            "Cache-Control": YEAR if current else "no-cache",
            "Vary": "Accept-Encoding",
            "X-Content-Type-Options": "nosniff",
        }
        zips = "gzip" in request.headers.get("accept-encoding", "") and len(file.zipped) < len(file.content)
        if zips:
            headers["Content-Encoding"] = "gzip"
        return Response(file.zipped if zips else file.content, headers=headers, media_type=file.type)


def _bundle(folder: Path, name: str, parts: tuple[str, ...]) -> _File | None:
    found = [(folder / part).read_bytes() for part in parts if (folder / part).exists()]
    if not found:
        return None
    content = b"\n".join(found) if len(parts) > 1 else found[0]
    return _File(content, gzip.compress(content, 9), TYPES[Path(name).suffix])
