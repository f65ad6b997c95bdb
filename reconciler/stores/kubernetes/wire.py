"""Calls to the Kubernetes API, one at a time: timed, bounded, and every failure a `CallError`.

lightkube finds the cluster and lets us in; the calls themselves are made on its HTTP client, for its typed methods have
no room for what safety asks here: strict field validation, preconditions on a deletion, a bound on every answer.
"""

from __future__ import annotations

import json
import time
from contextlib import closing, contextmanager, suppress
from socket import SHUT_RDWR
from typing import TYPE_CHECKING, Any, Final

from reconciler.core.hostile import printable
from reconciler.stores.answers import bounded, parsed
from reconciler.stores.kubernetes.failures import CONFLICT, GONE, NOT_FOUND, TOO_MANY, UNAVAILABLE, CallError, failure
from reconciler.stores.kubernetes.marks import GATEWAY, MANAGED_BY, MANAGER, mapping
from reconciler.stores.kubernetes.objects import REGISTRATION, SECRET, Kind
from reconciler.version import __version__

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator, Mapping

    import httpx2

    from reconciler.stores.kubernetes.address import Address

    Found = Mapping[str, Any]

CALL_SECONDS: Final = 30.0
MAX_BYTES: Final = 64 * 1024 * 1024
MAX_EVENT_BYTES: Final = 8 * 1024 * 1024
"""An object has at most 1.5 MiB in etcd, and about twice that as JSON."""

PAGE: Final = 200

_CONNECT_SECONDS: Final = 10.0
_MOST_PAGES: Final = 500
_TRIES: Final = 4
_LONGEST_WAIT_SECONDS: Final = 30.0
_OK: Final = range(200, 300)
_OURS: Final = {"fieldManager": MANAGER, "fieldValidation": "Strict"}
_CREATED: Final = 201
_NOT_ITS_API: Final = "check the server of the kubeconfig: is this a Kubernetes API?"


class Wire:
    """One connection to a namespace of a cluster. It is not shared between threads."""

    def __init__(
        self, address: Address, *, seconds: float = CALL_SECONDS, page: int = PAGE, tries: int = _TRIES
    ) -> None:
        self._namespace = address.namespace
        self._seconds = seconds
        self._page = page
        self._tries = tries
        self._check: Callable[[], None] | None = None
        self._hung_up = False
        self._listening: socket.socket | None = None
        self._client = _client(address, seconds)

    @property
    def namespace(self) -> str:
        """The namespace that everything is in."""
        return self._namespace

    @contextmanager
    def only_after(self, check: Callable[[], None] | None) -> Iterator[None]:
        """Call `check` right before each write for as long as the context lasts; what it raises comes in its place."""
        self._check = check
        try:
            yield
        finally:
            self._check = None

    def all(self, kind: Kind, gateway: str = "") -> list[Found]:
        """Return all registrations, or those objects of another kind that carry our label (for that gateway).

        Raises:
            CallError: they could not be had, or not all of them.
        """
        params = {"limit": str(self._page)}
        if kind is not REGISTRATION:
            ours = f"{MANAGED_BY}={MANAGER}"
            params["labelSelector"] = f"{ours},{GATEWAY}={gateway}" if gateway else ours
        for _ in range(_TRIES - 1):
            try:
                return list(self._pages(kind, params))
            except CallError as error:
                if error.status != GONE:  # a list that takes too long is forgotten half-way: from the beginning then
                    raise
        return list(self._pages(kind, params))

    def get(self, kind: Kind, name: str) -> Found | None:
        """Return one object, or None where there is none of that name."""
        try:
            return _object(self._call("GET", kind, name)[1])
        except CallError as error:
            if error.status == NOT_FOUND:
                return None
            raise

    def apply(self, kind: Kind, content: Found, *, dry_run: bool = False, force: bool = False) -> tuple[Found, bool]:
        """Apply an object as ours, or only have it judged. Returns what is there then, and whether it is new.

        Raises:
            CallError: it was not taken; `holders` says who holds the fields, if that is why.
        """
        params = {**_OURS, "force": str(force).lower(), **({"dryRun": "All"} if dry_run else {})}
        name = content["metadata"]["name"]
        media = "application/apply-patch+yaml"
        status, answer = self._call("PATCH", kind, name, params=params, body=content, media=media)
        return mapping(answer) if dry_run else _object(answer), status == _CREATED

    def create(self, kind: Kind, content: Found) -> Found:
        """Create an object; one of its name that is there already is a conflict."""
        return _object(self._call("POST", kind, "", params=_OURS, body=content)[1])

    def replace(self, kind: Kind, content: Found) -> Found:
        """Write an object over the version that it names; another version is a conflict."""
        return _object(self._call("PUT", kind, content["metadata"]["name"], params=_OURS, body=content)[1])

    def merge(self, kind: Kind, name: str, change: Found) -> Found:
        """Merge a change into an object: None takes a field away, whoever put it there."""
        answer = self._call("PATCH", kind, name, params=_OURS, body=change, media="application/merge-patch+json")
        return _object(answer[1])

    def delete(self, kind: Kind, found: Found) -> None:
        """Delete an object as it was found, and no other one. One that is gone already is as good."""
        metadata = found["metadata"]
        held = {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]}
        options = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": held}
        try:
            self._call("DELETE", kind, metadata["name"], body=options)
        except CallError as error:
            if error.status != NOT_FOUND:
                raise

    def version(self, kind: Kind) -> str:
        """Return how far the objects of a kind have come by now: what a watch begins with."""
        answer = mapping(self._call("GET", kind, "", params={"limit": "1"})[1])
        version = mapping(answer.get("metadata")).get("resourceVersion")
        if not isinstance(version, str) or not version:
            raise CallError(f"the answer is not a list of {kind.plural}", fix=_NOT_ITS_API)
        return version

    @contextmanager
    def listening(self, kind: Kind, version: str, seconds: float) -> Iterator[Iterator[Found]]:
        """Yield what happens to the objects of a kind after a version, for as long as that or until `hang_up`.

        Raises:
            CallError: it cannot be had, it broke off, or the API server has forgotten that version.
        """
        params = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(max(1, int(seconds))),
        }
        with _mapped(self._seconds):
            request = self._request("GET", kind, "", params)
            with closing(self._client.send(request, stream=True, follow_redirects=False)) as response:
                if response.status_code not in _OK:
                    answer = parsed(_content(response, time.monotonic() + self._seconds))
                    raise failure(response.status_code, answer, f"watch {kind.plural}", secret=kind is SECRET)
                self._listening = response.extensions["network_stream"].get_extra_info("socket")
                lines = iter(()) if self._hung_up else _lines(response)
                yield (mapping(parsed(line)) for line in lines)

    def hang_up(self) -> None:
        """End `listening`, in whatever thread that is, and let there be no more of it."""
        self._hung_up = True
        if self._listening is not None:
            with suppress(OSError):
                self._listening.shutdown(SHUT_RDWR)

    def close(self) -> None:
        """Close the connection. Twice is once."""
        self._client.close()

    def _pages(self, kind: Kind, params: Mapping[str, str]) -> Iterator[Found]:
        going_on: dict[str, str] = {}
        for _ in range(_MOST_PAGES):
            answer = mapping(self._call("GET", kind, "", params={**params, **going_on})[1])
            items = answer.get("items")
            if not isinstance(items, list):
                raise CallError(f"the answer is not a list of {kind.plural}", fix=_NOT_ITS_API)
            yield from map(_object, items)
            token = mapping(answer.get("metadata")).get("continue")
            if not token:
                return
            going_on = {"continue": str(token)}
        raise CallError(f"there are more than {_MOST_PAGES} pages of {kind.plural}", fix="use several namespaces")

    def _request(
        self,
        method: str,
        kind: Kind,
        name: str,
        params: Mapping[str, str] | None = None,
        body: Found | None = None,
        media: str = "application/json",
    ) -> httpx2.Request:
        path = f"{kind.path}/namespaces/{self._namespace}/{kind.plural}{f'/{name}' if name else ''}"
        content = None if body is None else json.dumps(body, ensure_ascii=False).encode()
        headers = {} if body is None else {"Content-Type": media}
        return self._client.build_request(method, path, params=params, content=content, headers=headers)

    def _call(
        self,
        method: str,
        kind: Kind,
        name: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Found | None = None,
        media: str = "application/json",
    ) -> tuple[int, Any]:
        """Return the status and the JSON of the answer to a call; one that the API is too busy for is repeated."""
        if self._client.is_closed:
            raise CallError("the store is closed")
        what = f"{method} {kind.plural}{f' {name}' if name else ''}"
        for left in reversed(range(self._tries)):
            self._allow(method, params)
            try:
                request = self._request(method, kind, name, params, body, media)
            except UnicodeError:
                raise CallError(f"{kind.kind} {name} has text that cannot be written", fix="correct it") from None
            status, wait, answer = self._send(request)
            if status not in (TOO_MANY, UNAVAILABLE) or wait > _LONGEST_WAIT_SECONDS or not left:
                break
            time.sleep(wait)
        if status not in _OK:
            raise failure(
                status, parsed(answer), what, secret=kind is SECRET and method == "PATCH" and status != CONFLICT
            )
        return status, parsed(answer)

    def _allow(self, method: str, params: Mapping[str, str] | None) -> None:
        """Have a write checked; a dry run is none."""
        if self._check is not None and method != "GET" and "dryRun" not in (params or {}):
            self._check()

    def _send(self, request: httpx2.Request) -> tuple[int, float, bytes]:
        """Return the status, the seconds the API asks to wait, and the content."""
        deadline = time.monotonic() + self._seconds
        with _mapped(self._seconds):
            response = self._client.send(request, stream=True, follow_redirects=False)
            try:
                content = _content(response, deadline)
            finally:
                response.close()
        return response.status_code, _seconds(response.headers.get("retry-after", "")), content


def _client(address: Address, seconds: float) -> httpx2.Client:
    import httpx2
    from lightkube.config.client_adapter import Client, ConnectionParams
    from lightkube.core.exceptions import ConfigError

    from reconciler.errors import InputError

    timeout = httpx2.Timeout(seconds, connect=min(seconds, _CONNECT_SECONDS))
    try:
        client = Client(address.config, ConnectionParams(timeout=timeout, trust_env=False))
    except (ConfigError, OSError, ValueError) as error:
        raise InputError(
            f"what the kubeconfig says of the cluster or the user cannot be used: {printable(str(error), 200)}",
            fix="look at its certificate files and its user",
        ) from None
    client.headers.update({"User-Agent": f"mcp-gateway-reconciler/{__version__}", "Accept": "application/json"})
    return client


@contextmanager
def _mapped(seconds: float) -> Iterator[None]:
    """Let no exception of the driver out."""
    import httpx2
    from lightkube.core.exceptions import ConfigError

    try:
        yield
    except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
        raise CallError(
            f"the Kubernetes API cannot be reached: {printable(str(error), 200) or 'no answer'}",
            fix="check the server of the kubeconfig, and that its certificate-authority is that of the cluster",
        ) from None
    except (httpx2.TimeoutException, TimeoutError):
        raise CallError(f"the Kubernetes API did not answer within {seconds:g} s", fix="try again") from None
    except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError) as error:
        raise CallError(
            f"the conversation with the Kubernetes API broke off: {printable(str(error), 200)}", fix="try again"
        ) from None
    except (ConfigError, OSError, ValueError) as error:  # a credential plugin or a token file that fails
        raise CallError(
            f"no credentials for the Kubernetes API: {printable(str(error), 200)}", fix="log in again"
        ) from None


def _content(response: httpx2.Response, deadline: float) -> bytes:
    content = bounded(response.iter_bytes(), MAX_BYTES, deadline)
    if content is None:
        raise CallError(f"the answer has more than {MAX_BYTES:,} bytes", fix=_NOT_ITS_API)
    return content


def _lines(response: httpx2.Response) -> Iterator[bytes]:
    begun: list[bytes] = []
    size = 0
    for piece in response.iter_bytes():
        *ends, rest = piece.split(b"\n")
        for end in ends:
            yield b"".join((*begun, end))
            begun, size = [], 0
        begun.append(rest)
        size += len(rest)
        if size > MAX_EVENT_BYTES:
            raise CallError(f"an event has more than {MAX_EVENT_BYTES:,} bytes", fix=_NOT_ITS_API)


def _object(found: object) -> Found:
    metadata = mapping(mapping(found).get("metadata"))
    if not all(isinstance(metadata.get(each), str) for each in ("name", "uid", "resourceVersion")):
        raise CallError("the answer is not an object of Kubernetes", fix=_NOT_ITS_API)
    return mapping(found)


def _seconds(retry_after: str) -> float:
    """Return the seconds of a Retry-After header, one second where there is none; a date is longer than we wait."""
    if not retry_after:
        return 1.0
    return float(retry_after) if retry_after.isascii() and retry_after.isdigit() else float("inf")
