"""The two transports that carry MCP over HTTP: one call of the conversation in, its answer out.

A transport gives `exchange(call)`: the JSON-RPC response object, None for a notification, or the `Diagnosis` of why
there is none. Server requests, notifications and answers to other calls in the same stream are skipped, and so are
events with empty data, with which servers open a stream.

Sources: MCP 2025-11-25 basic/transports ("Streamable HTTP") and MCP 2024-11-05 basic/transports ("HTTP with SSE").
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, NoReturn
from urllib.parse import urljoin

import h11

from reconciler.core import refusals
from reconciler.core.diagnosis import diagnose
from reconciler.core.model import Transport
from reconciler.core.sse import Decoder
from reconciler.errors import ReconcilerError
from reconciler.probes.channel import Address, Channel
from reconciler.probes.wire import WireError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from reconciler.core.handshake import Answer, Call, Conversation, Reply
    from reconciler.core.observation import Diagnosis, McpObservation
    from reconciler.core.sse import Event
    from reconciler.probes.http1 import Response

MAX_BODY = 4 * 1024 * 1024

_DRAIN_SECONDS = 0.25
_GOODBYE_SECONDS = 1.0
_JSON = "application/json"
_EVENTS = "text/event-stream"
_BROKEN = (ReconcilerError, h11.ProtocolError)
_EXPLAINED = (400, 404)


class _RefusedError(ReconcilerError):
    """An answer that carries no MCP. It does not leave this module."""

    def __init__(self, diagnosis: Diagnosis) -> None:
        super().__init__(diagnosis.reason)
        self.diagnosis = diagnosis


def hold(conversation: Conversation, exchange: Callable[[Call], Answer]) -> McpObservation:
    """Carry every call of the conversation, and return what it came to."""
    call = next(conversation)
    while True:
        try:
            call = conversation.send(exchange(call))
        except StopIteration as end:
            observation: McpObservation = end.value
            return observation


class _Carrier(ABC):
    """What both transports share: the channel, and how failures become diagnoses."""

    def __init__(self, channel: Channel, url: str, now: datetime) -> None:
        self._channel = channel
        self._url = url
        self._now = now

    def exchange(self, call: Call) -> Answer:
        """Send one call and return its answer, or the diagnosis of why there is none."""
        try:
            return self._carry(call)
        except _RefusedError as error:
            return error.diagnosis
        except WireError as error:
            return diagnose(error.attempt, self._now)
        except h11.LocalProtocolError:
            return refusals.unusable_headers()
        except h11.RemoteProtocolError as error:
            return refusals.not_http(self._question("POST"), str(error))

    @abstractmethod
    def _carry(self, call: Call) -> Reply | None:
        """Send one call and return its answer."""

    @abstractmethod
    def close(self) -> None:
        """Take leave of the server."""

    def _question(self, method: str) -> str:
        return f"{method} {refusals.public_url(self._url)}"

    @contextmanager
    def _answer(self, method: str, path: str, headers: dict[str, str], content: bytes = b"") -> Iterator[Response]:
        """Send a request and give its response, if its status says success."""
        with self._channel.request(method, path, headers, content) as response:
            if not response.success:
                raise self._refusal(method, response)
            yield response

    def _refusal(self, method: str, response: Response) -> _RefusedError:
        return _RefusedError(refusals.refused(self._question(method), self._url, response.status, response.headers))

    def _content(self, call: Call) -> tuple[dict[str, str], bytes]:
        return {"content-type": _JSON}, json.dumps(call.message()).encode()

    def _chunks(self, response: Response) -> Iterator[bytes]:
        """Give the body chunk by chunk, and refuse one that is too large."""
        size = 0
        for chunk in response.chunks:
            size += len(chunk)
            if size > MAX_BODY:
                raise _RefusedError(refusals.too_large(self._question("POST"), MAX_BODY))
            yield chunk

    def _drain(self, chunks: Iterator[bytes]) -> None:
        """Read what is left, so that the connection can be used again; a stream that stays open is given up soon."""
        with suppress(*_BROKEN), self._channel.line.deadline.within(_DRAIN_SECONDS):
            for _ in chunks:
                pass

    def _events(self, chunks: Iterator[bytes]) -> Iterator[Event]:
        decoder = Decoder(MAX_BODY)
        for chunk in chunks:
            try:
                yield from decoder.feed(chunk)
            except ReconcilerError:
                raise _RefusedError(refusals.too_large(self._question("GET"), MAX_BODY)) from None

    def _find(self, events: Iterator[Event], call: Call) -> Reply:
        """Return the answer to `call` from a stream that may hold much else."""
        for event in events:
            if event.type == "message" and event.data.strip():
                reply = _reply(self._parse(event.data), call)
                if reply is not None:
                    return reply
        raise _RefusedError(refusals.no_answer(self._question("POST")))

    def _parse(self, text: str | bytes) -> object:
        try:
            return json.loads(text, parse_constant=_no_constant)
        except (ValueError, RecursionError):
            raise _RefusedError(refusals.not_json(self._question("POST"))) from None


class StreamableHttp(_Carrier):
    """Every call is a POST; its answer is JSON, or an event stream with the answer in it."""

    _session = ""
    _version = ""

    def _carry(self, call: Call) -> Reply | None:
        self._version = call.protocol_version
        kind, content = self._content(call)
        headers = {"accept": f"{_JSON}, {_EVENTS}", **kind, **self._session_headers()}
        if call.stateless:
            headers["mcp-method"] = call.method
            if "name" in call.params:
                headers["mcp-name"] = call.params["name"]
        with self._channel.request("POST", self._channel.address.path, headers, content) as response:
            chunks = self._chunks(response)
            if not response.success:
                return self._explanation(response, chunks, call)
            if call.method == "initialize":
                self._session = response.header("mcp-session-id")
            if call.id is None:
                self._drain(chunks)
                return None
            return self._body(response, chunks, call)

    def _explanation(self, response: Response, chunks: Iterator[bytes], call: Call) -> Reply:
        """Return the JSON-RPC error in the body of a failure. Only some statuses may have one that says more."""
        if response.status in _EXPLAINED and response.kind == _JSON and call.id is not None:
            with suppress(_RefusedError):
                reply = _reply(self._parse(b"".join(chunks)), call)
                if reply is not None and "error" in reply:
                    return reply
        raise self._refusal("POST", response)

    def _body(self, response: Response, chunks: Iterator[bytes], call: Call) -> Reply:
        match response.kind:
            case "application/json":
                reply = _reply(self._parse(b"".join(chunks)), call)
                if reply is None:
                    raise _RefusedError(refusals.no_answer(self._question("POST")))
            case "text/event-stream":
                reply = self._find(self._events(chunks), call)
                self._drain(chunks)
            case _:
                raise _RefusedError(refusals.not_mcp(self._question("POST"), response.header("content-type")))
        return reply

    def _session_headers(self) -> dict[str, str]:
        given = {"mcp-session-id": self._session, "mcp-protocol-version": self._version}
        return {name: value for name, value in given.items() if value}

    def close(self) -> None:
        """End the session. A server may refuse (405 is legal), and nothing depends on it."""
        if not self._session:
            return
        path, headers = self._channel.address.path, self._session_headers()
        in_time = self._channel.line.deadline.within(_GOODBYE_SECONDS)
        with suppress(*_BROKEN), in_time, self._answer("DELETE", path, headers) as response:
            self._drain(self._chunks(response))


class LegacySse(_Carrier):
    """One GET holds an event stream; its first event says where to POST, and every answer comes on the stream."""

    def __init__(self, channel: Channel, url: str, now: datetime) -> None:
        super().__init__(channel, url, now)
        self._open = ExitStack()
        self._stream: Iterator[Event] | None = None
        self._endpoint = ""

    def _carry(self, call: Call) -> Reply | None:
        if self._stream is None:
            self._stream = self._connect()
        kind, content = self._content(call)
        with self._answer("POST", self._endpoint, {"accept": _JSON, **kind}, content) as response:
            self._drain(self._chunks(response))
        return None if call.id is None else self._find(self._stream, call)

    def _connect(self) -> Iterator[Event]:
        """Open the stream and read where messages go. It stays open for the answers."""
        request = self._answer("GET", self._channel.address.path, {"accept": _EVENTS})
        response = self._open.enter_context(request)
        if response.kind != _EVENTS:
            raise _RefusedError(refusals.not_mcp(self._question("GET"), response.header("content-type")))
        events = self._events(response.chunks)
        for event in events:
            if event.type == "endpoint":
                self._endpoint = self._same_origin(event.data)
                return events
        raise _RefusedError(refusals.no_answer(self._question("GET")))

    def _same_origin(self, endpoint: str) -> str:
        """Return the path to POST to. Credentials go there, so no other origin will do."""
        try:
            url = urljoin(self._url, endpoint)
            address = Address.parse(url)
        except ValueError:
            raise _RefusedError(refusals.foreign_endpoint(self._question("GET"), endpoint)) from None
        if address.origin != self._channel.address.origin:
            raise _RefusedError(refusals.foreign_endpoint(self._question("GET"), url))
        return address.path

    def close(self) -> None:
        """Leave the stream; that is how this transport says goodbye."""
        with suppress(*_BROKEN):
            self._open.close()


CARRIERS: dict[Transport, type[_Carrier]] = {Transport.STREAMABLE_HTTP: StreamableHttp, Transport.SSE: LegacySse}


def _reply(document: object, call: Call) -> Reply | None:
    """Return the response to `call` in a message or a batch of them (2025-03-26), if it is there.

    An error without an id is a server that could not even read the request; there is only one it can mean.
    """
    for message in document if isinstance(document, list) else [document]:
        if isinstance(message, dict) and ("result" in message or "error" in message):
            answered = message.get("id")
            if answered == call.id or (answered is None and "error" in message):
                return message
    return None


def _no_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")
