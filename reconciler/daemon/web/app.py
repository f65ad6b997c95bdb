"""The routes, and who may ask. Health is for everybody, the rest for whoever has the token, where there is one.

Bound to the loopback interface, only requests for this host by name are answered: otherwise a page in the browser of
whoever sits here could read the status through a name of its own that leads to 127.0.0.1.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.resources import files
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from reconciler.daemon.web.hooks import BODY_LIMIT, is_genuine, same
from reconciler.daemon.web.page import Asked, render
from reconciler.daemon.web.status import as_document

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from datetime import datetime

    from starlette.requests import Request

    from reconciler.daemon.board import Board
    from reconciler.daemon.probes import ProbePool

    Endpoint = Callable[[Request], Awaitable[Response]]

_LOOPBACK: Final = ("127.0.0.1", "localhost", "[::1]", "::1")
_HEADERS: Final = {
    "content-security-policy": "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
_ASSETS: Final = {"status.css": "text/css", "status.svg": "image/svg+xml"}
_LONGEST_QUERY: Final = 100
_PAGES: Final = 10_000


@dataclass(frozen=True, slots=True)
class Door:
    """Who may come in: a bearer `token` and the `hook_secret`, each empty for none. `loopback`: only from this host."""

    token: str = field(default="", repr=False)
    hook_secret: str = field(default="", repr=False)
    loopback: bool = True


@dataclass(frozen=True, slots=True)
class View:
    """What the server shows, and what it may ask for."""

    board: Board
    pool: ProbePool
    clock: Callable[[], datetime]
    alive: Callable[[], bool]
    ready: Callable[[], bool]
    pull: Callable[[], None]


def make_app(view: View, door: Door) -> Starlette:
    """Return the application."""
    guarded = {"/metrics": _metrics(view), "/status": _status(view), "/": _home}
    routes = [Route(path, _guarded(endpoint, door), methods=["GET"]) for path, endpoint in guarded.items()]
    routes += [
        Route("/healthz", _probe(view.alive), methods=["GET"]),
        Route("/readyz", _probe(view.ready), methods=["GET"]),
        Route("/hooks/git", _hook(view, door), methods=["POST"]),
        *(Route(f"/{name}", _asset(name, kind), methods=["GET"]) for name, kind in _ASSETS.items()),
    ]
    hosts = Middleware(TrustedHostMiddleware, allowed_hosts=list(_LOOPBACK) if door.loopback else ["*"])
    return Starlette(routes=routes, middleware=[hosts])


def _guarded(endpoint: Endpoint, door: Door) -> Endpoint:
    async def answer(request: Request) -> Response:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if door.token and not (scheme.lower() == "bearer" and same(given.strip(), door.token)):
            return PlainTextResponse("a bearer token is asked for\n", 401, {"www-authenticate": "Bearer", **_HEADERS})
        return await endpoint(request)

    return answer


def _probe(holds: Callable[[], bool]) -> Endpoint:
    async def answer(_request: Request) -> Response:
        good = holds()
        return PlainTextResponse("ok\n" if good else "not yet\n", 200 if good else 503, _HEADERS)

    return answer


def _metrics(view: View) -> Endpoint:
    async def answer(_request: Request) -> Response:
        from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4

        from reconciler.daemon.web.metrics import expose

        return Response(expose(view.board, view.pool), headers=_HEADERS, media_type=CONTENT_TYPE_PLAIN_0_0_4)

    return answer


def _status(view: View) -> Endpoint:
    async def answer(request: Request) -> Response:
        accepts = request.headers.get("accept", "")
        vary = {**_HEADERS, "vary": "Accept"}
        if "text/html" in accepts and request.query_params.get("format") != "json":
            return Response(render(view.board, view.clock(), _asked(request)), media_type="text/html", headers=vary)
        return JSONResponse(as_document(view.board, view.clock()), headers=vary)

    return answer


def _asked(request: Request) -> Asked:
    given = parse_qs(request.url.query[: 4 * _LONGEST_QUERY])
    page = given.get("page", ["1"])[0]
    number = int(page) if page.isascii() and page.isdigit() and len(page) < len(str(_PAGES)) else 1
    return Asked(given.get("q", [""])[0][:_LONGEST_QUERY], max(1, number))


def _hook(view: View, door: Door) -> Endpoint:
    async def answer(request: Request) -> Response:
        if not door.hook_secret:
            return PlainTextResponse("there is no secret, so no webhook is taken\n", 404, _HEADERS)
        body = await _body(request)
        if body is None:
            return PlainTextResponse("too large\n", 413, _HEADERS)
        headers: Mapping[str, str] = request.headers
        genuine = is_genuine(headers, body, door.hook_secret)
        view.board.count("reconciler_hooks_total", result="taken" if genuine else "refused")
        if not genuine:
            return PlainTextResponse("the signature is not right\n", 401, _HEADERS)
        view.pull()
        return PlainTextResponse("looking\n", 202, _HEADERS)

    return answer


async def _body(request: Request) -> bytes | None:
    """Return the body of a request, or None when it is longer than any that is taken."""
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > BODY_LIMIT:
            return None
        parts.append(part)
    return b"".join(parts)


async def _home(_request: Request) -> Response:
    return RedirectResponse("status", 303, _HEADERS)


def _asset(name: str, kind: str) -> Endpoint:
    data = (files("reconciler.daemon.web") / name).read_bytes()

    async def answer(_request: Request) -> Response:
        return Response(data, media_type=kind, headers={**_HEADERS, "cache-control": "max-age=300"})

    return answer
