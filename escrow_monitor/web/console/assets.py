"""The files that pages load from us: named by their content, compressed once, kept by browsers for good."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import Response

from escrow_monitor.web.problems import Problem

KEPT_SECONDS = 365 * 24 * 3600
"""An address with the hash of its content in it never changes its meaning."""
UNNAMED_SECONDS = 3600
"""How long a file asked for without its hash may be kept."""
HASH_CHARACTERS = 12
COMPRESSED_FROM_BYTES = 1_000

CSS, JS, SVG = "text/css; charset=utf-8", "text/javascript; charset=utf-8", "image/svg+xml"
STATIC: Mapping[str, str] = {
    "console.css": CSS, "statement.css": CSS, "desk.css": CSS,
    "office.css": CSS, "back_test.css": CSS, "alerts.css": CSS,
    "theme.js": JS, "console.js": JS, "live.js": JS, "alerts.js": JS, "chart.js": JS, "reconcile.js": JS,
    "upload.js": JS, "icon.svg": SVG, "select.svg": SVG, "select-dark.svg": SVG,
}
"""Our own files, with their media types."""
VENDORED: Mapping[str, tuple[str, str]] = {
    "tabler.min.css": ("tabler", CSS), "htmx.min.js": ("htmx", JS), "echarts.common.min.js": ("echarts", JS),
}
"""Files by others, each in its folder of `web/vendor`, with their media types; `VENDOR.json` there has their hashes."""
NAMES = (*STATIC, *VENDORED)


def asset(name: str) -> str:
    """The address of a file, with the hash of what is in it. KeyError for one that is not listed."""
    return f"/static/{name}?{asset_hash(name)}"


@lru_cache(maxsize=len(NAMES))
def asset_hash(name: str) -> str:
    """Changes when the file does."""
    return hashlib.sha256(asset_bytes(name)).hexdigest()[:HASH_CHARACTERS]


@lru_cache(maxsize=len(NAMES))
def asset_bytes(name: str) -> bytes:
    """What is in the file."""
    if name in VENDORED:
        return files("escrow_monitor.web").joinpath("vendor", VENDORED[name][0], name).read_bytes()
    if name in STATIC:
        return files(__package__).joinpath("static", name).read_bytes()
    raise KeyError(name)


async def static(request: Request) -> Response:
    """Answer `/static/NAME`. Raises Problem 404."""
    name = request.path_params["name"]
    if name not in NAMES:
        raise Problem(404, f"there is nothing at {request.url.path}")
    is_named = request.url.query == asset_hash(name)
    etag = f'"{asset_hash(name)}"'
    headers = {
        "Cache-Control": f"public, max-age={KEPT_SECONDS}, immutable" if is_named
        else f"public, max-age={UNNAMED_SECONDS}",
        "ETag": etag, "Vary": "Accept-Encoding",
    }
    if request.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers=headers)
    media_type = STATIC[name] if name in STATIC else VENDORED[name][1]
    if "gzip" in request.headers.get("accept-encoding", "") and len(asset_bytes(name)) >= COMPRESSED_FROM_BYTES:
        return Response(_compressed(name), headers={**headers, "Content-Encoding": "gzip"}, media_type=media_type)
    return Response(asset_bytes(name), headers=headers, media_type=media_type)


@lru_cache(maxsize=len(NAMES))
def _compressed(name: str) -> bytes:
    return gzip.compress(asset_bytes(name), compresslevel=9, mtime=0)
