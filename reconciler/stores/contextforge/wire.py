"""Calls to the REST API of ContextForge, one at a time: timed, bounded, and every failure a `CallError`.

Redirects are not followed, for the token would go with them. Neither proxies nor credentials are taken from the
environment.

Five calls beyond the platform's rate limit lock an address out for a quarter of an hour, so that limit is kept: when
the platform says that no calls are left, the next one waits for a minute. A call that is refused all the same, because
others use the address too, is repeated once, after the time that the platform names; until then nothing is sent.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from reconciler.core.hostile import printable
from reconciler.core.model import Waited
from reconciler.stores.answers import bounded, parsed
from reconciler.stores.contextforge.address import CA_FILE
from reconciler.stores.contextforge.failures import TOO_MANY, CallError, failure
from reconciler.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import httpx

    from reconciler.stores.contextforge.address import Address

    Row = Mapping[str, Any]

USER_AGENT: Final = f"mcp-gateway-reconciler/{__version__}"
CALL_SECONDS: Final = 45.0
MAX_BYTES: Final = 256 * 1024 * 1024

_CONNECT_SECONDS: Final = 10.0
_WINDOW_SECONDS: Final = 60.0
_LONGEST_WAIT_SECONDS: Final = 70.0
_TEAMS_AT_ONCE: Final = 100
_MOST_TEAMS: Final = 10_000
_GATEWAYS: Final = "/v1/gateways"
_NOT_ITS_API: Final = "check the store's URL: is this ContextForge, and the path its root path?"


class Wire:
    """One connection to a platform. It is not shared between threads.

    `waited` counts the calls, and the seconds that they and the pauses between them took.
    """

    def __init__(self, address: Address, *, seconds: float = CALL_SECONDS, sleep: Callable[[float], None]) -> None:
        import httpx

        self.waited = Waited()
        self._address = address
        self._seconds = seconds
        self._sleep = sleep
        self._may_repeat = True
        self._not_before = 0.0
        self._client = httpx.Client(
            headers={
                "Authorization": f"Bearer {address.token}",
                "User-Agent": USER_AGENT,
                "Accept": "application/json",
                "Accept-Encoding": "identity",
            },
            timeout=httpx.Timeout(seconds, connect=min(seconds, _CONNECT_SECONDS)),
            verify=address.context or False,  # without a context it is plain HTTP, over loopback
            follow_redirects=False,
            trust_env=False,
        )

    def gateways(self) -> list[Row]:
        """Return all gateways that the token may see. Without these parameters it would be the first fifty that are on.

        Raises:
            CallError: they could not be had, or not all of them.
        """
        every = {"limit": "0", "include_inactive": "true", "include_pagination": "true"}
        answer = self._call("GET", _GATEWAYS, "gateways.read", params=every)
        rows = answer.get("gateways") if isinstance(answer, dict) else None
        if not isinstance(rows, list) or not all(map(_is_row, rows)):
            raise CallError("the answer is not a list of gateways", fix=_NOT_ITS_API)
        if answer["nextCursor"] if "nextCursor" in answer else answer.get("next_cursor"):
            raise CallError("the platform gives only a part of its gateways", fix="report this, with its version")
        return rows

    def gateway(self, identifier: str) -> Row:
        """Return one gateway by its id."""
        return _row(self._call("GET", _path(identifier), "gateways.read"))

    def create(self, body: Mapping[str, Any]) -> Row:
        """Create a gateway, and return what the platform answers: perhaps before it is done."""
        return _row(self._call("POST", _GATEWAYS, "gateways.create", body=body))

    def update(self, identifier: str, body: Mapping[str, Any]) -> Row:
        """Replace a gateway, and return what the platform answers."""
        return _row(self._call("PUT", _path(identifier), "gateways.update", body=body))

    def switch(self, identifier: str, *, on: bool) -> None:
        """Switch a gateway on or off."""
        self._call("POST", f"{_path(identifier)}/state", "gateways.update", params={"activate": str(on).lower()})

    def delete(self, identifier: str) -> None:
        """Delete a gateway, or have the platform begin to."""
        self._call("DELETE", _path(identifier), "gateways.delete")

    def teams(self) -> list[Row]:
        """Return the teams that the token may see."""
        teams: list[Row] = []
        while len(teams) < _MOST_TEAMS:
            page = {"skip": str(len(teams)), "limit": str(_TEAMS_AT_ONCE)}
            answer = self._call("GET", "/v1/teams/", "teams.read", params=page)
            found = answer.get("teams") if isinstance(answer, dict) else None
            if not isinstance(found, list) or not all(map(_is_row, found)):
                raise CallError("the answer is not a list of teams", fix=_NOT_ITS_API)
            teams.extend(found)
            if len(found) < _TEAMS_AT_ONCE:
                break
        return teams

    def tools(self, gateway: str) -> list[Row]:
        """Return the tools of a gateway, by its id."""
        every = {"gateway_id": gateway, "limit": "0", "include_inactive": "true"}
        tools = self._call("GET", "/v1/tools", "tools.read", params=every)
        if not isinstance(tools, list) or not all(map(_is_row, tools)):
            raise CallError("the answer is not a list of tools", fix=_NOT_ITS_API)
        return tools

    def call_tool(self, name: str) -> Any:  # noqa: ANN401 - JSON as found
        """Call a tool without arguments, by the name that the platform gave it, and return the answer of JSON-RPC."""
        params = {"name": name, "arguments": {}}
        message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
        return self._call("POST", "/rpc", "tools.execute", body=message)

    def dialect(self) -> str:
        """Return the kind of the platform's database, or the empty string where the token may not ask."""
        try:
            answer = self._call("GET", "/v1/version", "admin.system_config")
        except CallError:
            return ""
        database = answer.get("database") if isinstance(answer, dict) else None
        return str(database.get("dialect", "")) if isinstance(database, dict) else ""

    def close(self) -> None:
        """Close the connection. Twice is once."""
        self._client.close()

    def _call(
        self,
        method: str,
        path: str,
        permission: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 - JSON as found
        if self._client.is_closed:
            raise CallError("the store is closed", ends=True)
        headers = {} if body is None else {"Content-Type": "application/json"}
        content = None if body is None else json.dumps(body).encode("ascii")
        request = self._client.build_request(
            method, f"{self._address.base}{path}", params=params, content=content, headers=headers
        )
        response, answer = self._send(request)
        if response.status_code == TOO_MANY and self._may_repeat and self._pause() <= _LONGEST_WAIT_SECONDS:
            self._may_repeat = False
            response, answer = self._send(request)
        if not response.is_success:
            raise failure(response.status_code, answer, permission)
        return answer

    def _send(self, request: httpx.Request) -> tuple[httpx.Response, Any]:
        """Return the answer and its JSON (None where it is none), as soon as the platform may be called."""
        if (pause := self._pause()) > _LONGEST_WAIT_SECONDS:
            raise failure(TOO_MANY, None, "")
        if pause > 0:
            self._sleep(pause)
        begun = time.monotonic()
        try:
            response, content = self._exchange(request, begun + self._seconds)
        finally:
            took = time.monotonic() - begun
            self.waited = Waited(self.waited.calls + 1, self.waited.seconds + took, self.waited.paused + max(pause, 0))
        self._not_before = time.monotonic() + _seconds_to_wait(response)
        return response, parsed(content)

    def _pause(self) -> float:
        """Return the seconds until the platform may be called."""
        return self._not_before - time.monotonic()

    def _exchange(self, request: httpx.Request, deadline: float) -> tuple[httpx.Response, bytes]:
        import httpx

        try:
            response = self._client.send(request, stream=True)
            try:
                return response, _content(response, deadline)
            finally:
                response.close()
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise _unreachable(error) from None
        except (httpx.HTTPError, TimeoutError) as error:
            raise _broken_off(error, self._seconds) from None


def _content(response: httpx.Response, deadline: float) -> bytes:
    content = bounded(response.iter_bytes(), MAX_BYTES, deadline)
    if content is None:
        raise CallError(f"the answer has more than {MAX_BYTES:,} bytes", fix=_NOT_ITS_API, sent=True)
    return content


def _row(answer: object) -> Row:
    if not isinstance(answer, dict) or not _is_row(answer):
        raise CallError("the answer is not a gateway", fix=_NOT_ITS_API, sent=True)
    return answer


def _is_row(value: object) -> bool:
    return isinstance(value, dict) and isinstance(value.get("id"), str)


def _path(identifier: str) -> str:
    return f"{_GATEWAYS}/{quote(identifier, safe='')}"


def _seconds_to_wait(response: httpx.Response) -> float:
    """Return after how many seconds the next call may be made.

    A Retry-After that is a date, or nonsense, is longer than anybody waits. The limit is on any sixty seconds.
    """
    if response.status_code == TOO_MANY:
        after = response.headers.get("retry-after", "")
        return float(after) if after.isascii() and after.isdigit() else float("inf")
    return _WINDOW_SECONDS if response.headers.get("x-ratelimit-remaining") == "0" else 0.0


def _unreachable(error: Exception) -> CallError:
    return CallError(
        f"ContextForge cannot be reached: {printable(str(error)) or type(error).__name__}",
        fix=f"check the store's URL; where the platform has a private CA, name its file in {CA_FILE}",
        ends=True,
    )


def _broken_off(error: Exception, seconds: float) -> CallError:
    import httpx

    slow = isinstance(error, TimeoutError | httpx.TimeoutException)
    why = f"did not answer within {seconds:g} s" if slow else f"broke off the connection ({type(error).__name__})"
    return CallError(f"ContextForge {why}", fix="look at its log, and plan again", sent=True)
