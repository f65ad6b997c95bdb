"""The MCP conversation, played against servers that are functions."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.handshake import (
    MAX_PAGES,
    PROTOCOL_VERSIONS,
    STATELESS_VERSION,
    Call,
    converse,
    tool_digest,
)
from reconciler.core.observation import Diagnosis, McpObservation, Tool

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciler.core.handshake import Answer

Results = dict[str, Any]

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)


def play(
    server: Callable[[Call], Answer], require_tools: tuple[str, ...] = (), **options: Any
) -> tuple[McpObservation, list[Call]]:
    """Let the conversation run against `server`, and return what it came to and what was said."""
    conversation = converse(require_tools, **options)
    calls = [next(conversation)]
    while True:
        try:
            calls.append(conversation.send(server(calls[-1])))
        except StopIteration as end:
            return end.value, calls


def answering(results: Results) -> Callable[[Call], Answer]:
    """Return a server with one result per method."""

    def server(call: Call) -> Answer:
        if call.id is None:
            return None
        return {"jsonrpc": "2.0", "id": call.id, "result": results[call.method]}

    return server


def introduction(**capabilities: object) -> dict[str, Any]:
    return {
        "protocolVersion": "2025-11-25",
        "capabilities": capabilities,
        "serverInfo": {"name": "payments", "version": "1.2"},
    }


SOUND: Results = {
    "initialize": introduction(tools={}, resources={}, prompts={}),
    "tools/list": {"tools": [{"name": "refund", "inputSchema": {}}, {"name": "charge", "description": "Charge"}]},
    "resources/list": {"resources": [{"uri": "a"}, {"uri": "b"}]},
    "prompts/list": {"prompts": [{"name": "p"}]},
}


def test_a_sound_server_is_described() -> None:
    seen, calls = play(answering(SOUND))
    assert (seen.ok, seen.reason, seen.protocol_version, seen.server) == (
        True,
        "Answered",
        "2025-11-25",
        "payments 1.2",
    )
    assert (seen.tool_names, seen.resources, seen.prompts) == (("charge", "refund"), 2, 1)
    assert [call.method for call in calls] == [
        "initialize",
        "notifications/initialized",
        "tools/list",
        "resources/list",
        "prompts/list",
    ]


def test_the_messages_are_json_rpc() -> None:
    _, calls = play(answering(SOUND))
    first, second, third = (call.message() for call in calls[:3])
    assert first["params"]["protocolVersion"] == PROTOCOL_VERSIONS[0]
    assert first["params"]["clientInfo"]["name"] == "reconciler"
    assert second == {"jsonrpc": "2.0", "method": "notifications/initialized"}
    assert third == {"jsonrpc": "2.0", "method": "tools/list", "id": 2}
    assert [call.protocol_version for call in calls] == ["", *["2025-11-25"] * 4]


@pytest.mark.parametrize("version", PROTOCOL_VERSIONS)
def test_every_published_revision_with_a_handshake_is_spoken(version: str) -> None:
    seen, calls = play(answering(SOUND | {"initialize": introduction() | {"protocolVersion": version}}))
    assert (seen.ok, seen.protocol_version) == (True, version)
    assert calls[-1].protocol_version == version


@pytest.mark.parametrize("version", ["2024-10-07", "2099-01-01", None, 3, ["2025-11-25"]])
def test_any_other_revision_is_a_diagnosis(version: object) -> None:
    seen, calls = play(answering({"initialize": introduction() | {"protocolVersion": version}}))
    assert (seen.ok, seen.reason, len(calls)) == (False, "ProtocolVersionUnsupported", 1)


def test_only_what_capabilities_name_is_listed() -> None:
    seen, calls = play(answering(SOUND | {"initialize": introduction(prompts={}, logging={})}))
    assert [call.method for call in calls[2:]] == ["prompts/list"]
    assert (seen.ok, seen.tool_names, seen.prompts) == (True, (), 1)


def test_lists_are_followed_page_by_page() -> None:
    pages = {None: (["a"], "1"), "1": ([], "2"), "2": (["b", "c"], None)}

    def server(call: Call) -> Answer:
        if call.method != "tools/list":
            return answering({"initialize": introduction(tools={})})(call)
        names, cursor = pages[call.params.get("cursor")]
        result: dict[str, Any] = {"tools": [{"name": name} for name in names]}
        return {"result": result | ({"nextCursor": cursor} if cursor else {})}

    seen, calls = play(server)
    assert (seen.tool_names, len(calls)) == (("a", "b", "c"), 5)
    assert len({call.id for call in calls}) == len(calls), "every request has an id of its own"


def test_a_repeated_cursor_ends_the_list() -> None:
    seen, calls = play(answering(SOUND | {"tools/list": {"tools": [], "nextCursor": "again"}}))
    assert (seen.ok, seen.reason, len(calls)) == (False, "EndlessList", 4)
    assert "same cursor twice" in seen.message


def test_a_list_without_end_is_given_up() -> None:
    def server(call: Call) -> Answer:
        endless = {"tools": [], "nextCursor": f"page {call.id}"}
        return answering(SOUND | {"tools/list": endless})(call)

    seen, calls = play(server)
    assert (seen.reason, len(calls)) == ("EndlessList", 2 + MAX_PAGES)


def test_too_many_items_are_given_up() -> None:
    def server(call: Call) -> Answer:
        page = {"resources": [{}] * 9000, "nextCursor": f"page {call.id}"}
        return answering(SOUND | {"resources/list": page})(call)

    seen, _ = play(server)
    assert seen.reason == "EndlessList"
    assert "more than 10000 items" in seen.message


def test_a_refusal_is_told_in_the_servers_words_made_harmless() -> None:
    def server(call: Call) -> Answer:
        return {"id": call.id, "error": {"code": -32602, "message": "no\x1b[2J\u202eway" + "!" * 500}}

    seen, _ = play(server)
    assert (seen.ok, seen.reason) == (False, "MethodRefused")
    assert "no\\x1b[2J\\u202eway" in seen.message
    assert "-32602" in seen.message
    assert len(seen.message) < 400


@pytest.mark.parametrize(("kind", "ok"), [("tools", False), ("resources", True), ("prompts", True)])
def test_a_list_that_does_not_exist_matters_for_tools_only(kind: str, ok: bool) -> None:
    def server(call: Call) -> Answer:
        if call.method == f"{kind}/list":
            return {"id": call.id, "error": {"code": -32601, "message": "Method not found"}}
        return answering(SOUND)(call)

    assert play(server)[0].ok is ok


def test_what_was_learnt_before_a_failure_is_kept() -> None:
    def server(call: Call) -> Answer:
        return Diagnosis("Gone", "gone") if call.method == "prompts/list" else answering(SOUND)(call)

    seen, _ = play(server)
    assert (seen.ok, seen.reason, seen.message) == (False, "Gone", "gone")
    assert (seen.server, seen.tool_names, seen.resources) == ("payments 1.2", ("charge", "refund"), 2)


def test_a_notification_that_cannot_be_delivered_ends_the_conversation() -> None:
    def server(call: Call) -> Answer:
        return Diagnosis("Gone", "gone") if call.id is None else answering(SOUND)(call)

    seen, calls = play(server)
    assert (seen.reason, len(calls)) == ("Gone", 2)


def test_required_tools_must_be_there() -> None:
    assert play(answering(SOUND), ("charge",))[0].ok
    seen, _ = play(answering(SOUND), ("charge", "void"))
    assert (seen.ok, seen.reason) == (False, "ToolsMissing")
    assert "lacks void" in seen.message
    assert "charge, refund" in seen.message


def test_a_tool_is_digested_whole_whatever_the_order_of_its_keys() -> None:
    one = play(answering(SOUND | {"tools/list": {"tools": [{"name": "a", "x": {"p": 1, "q": "é"}}]}}))[0]
    other = play(answering(SOUND | {"tools/list": {"tools": [{"x": {"q": "é", "p": 1}, "name": "a"}]}}))[0]
    changed = play(answering(SOUND | {"tools/list": {"tools": [{"name": "a", "x": {"p": 2, "q": "é"}}]}}))[0]
    text = '{"name":"a","x":{"p":1,"q":"é"}}'
    assert one.tools == other.tools == (Tool("a", sha256(text.encode()).hexdigest()),)
    assert one.tools != changed.tools


def test_whole_definitions_are_kept_for_who_asks() -> None:
    seen, _ = play(answering(SOUND), keep_definitions=True)
    kept = {tool.name: tool.definition for tool in seen.tools}
    assert kept["charge"] == '{"description":"Charge","name":"charge"}'
    assert "Charge" not in repr(seen)


DISCOVERED: Results = SOUND | {
    "server/discover": {
        "supportedVersions": [STATELESS_VERSION],
        "capabilities": {"tools": {}, "prompts": {}},
        "_meta": {"io.modelcontextprotocol/serverInfo": {"name": "payments", "version": "2"}},
    }
}


def test_the_revision_without_a_handshake_opens_with_a_question() -> None:
    seen, calls = play(answering(DISCOVERED), revision=STATELESS_VERSION)
    assert (seen.ok, seen.protocol_version, seen.server) == (True, STATELESS_VERSION, "payments 2")
    assert [call.method for call in calls] == ["server/discover", "tools/list", "prompts/list"]
    assert all(call.stateless and "_meta" in call.message()["params"] for call in calls)


@pytest.mark.parametrize("code", [-32601, -32022, -32600, -32000])
def test_a_refused_handshake_is_followed_by_that_question(code: int) -> None:
    def server(call: Call) -> Answer:
        if call.method == "initialize":
            return {"id": call.id, "error": {"code": code, "message": "no", "data": {"supported": ["2026-07-28"]}}}
        return answering(DISCOVERED)(call)

    seen, calls = play(server)
    assert (seen.ok, seen.protocol_version) == (True, STATELESS_VERSION)
    assert len({call.id for call in calls}) == len(calls)


def test_what_cannot_be_reached_is_not_asked_again() -> None:
    seen, calls = play(lambda _: Diagnosis("ConnectionClosed", "gone"))
    assert (seen.reason, len(calls)) == ("ConnectionClosed", 1)


def test_half_a_surrogate_pair_has_a_digest_too() -> None:
    assert tool_digest("\ud800") != tool_digest("\ud801")


def test_two_tools_of_one_name_are_refused() -> None:
    twice = {"tools": [{"name": "charge"}, {"name": "charge", "description": "Charge everything"}]}
    seen, _ = play(answering(SOUND | {"tools/list": twice}))
    assert (seen.ok, seen.reason) == (False, "ToolsAmbiguous")


def test_the_name_of_a_tool_cannot_play_tricks_on_a_terminal() -> None:
    seen, _ = play(answering(SOUND | {"tools/list": {"tools": [{"name": "a\u202eb\n"}]}}))
    assert seen.tool_names == ("a\\u202eb\\n",)


def test_a_definition_nested_too_deeply_is_a_diagnosis() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    seen, _ = play(answering(SOUND | {"tools/list": {"tools": [{"name": "a", "x": deep}]}}))
    assert seen.reason == "MalformedAnswer"


@given(method=st.sampled_from(sorted(SOUND)), result=JSON)
def test_no_result_breaks_the_conversation(method: str, result: object) -> None:
    seen, _ = play(answering(SOUND | {method: result}))
    assert seen.reason


@given(method=st.sampled_from(sorted(SOUND)), reply=JSON)
def test_no_reply_breaks_the_conversation(method: str, reply: Any) -> None:
    seen, _ = play(lambda call: reply if call.method == method else answering(SOUND)(call))
    assert seen.reason


@given(method=st.sampled_from(["tools/list", "resources/list"]), cursor=JSON)
def test_no_cursor_breaks_the_conversation(method: str, cursor: object) -> None:
    kind = method.partition("/")[0]
    seen, calls = play(answering(SOUND | {method: {kind: [], "nextCursor": cursor}}))
    assert seen.ok is (cursor is None)
    assert len(calls) <= 6


@given(
    field=st.sampled_from(["tools", "resources", "prompts"]),
    items=JSON,
)
def test_no_list_breaks_the_conversation(field: str, items: object) -> None:
    seen, _ = play(answering(SOUND | {f"{field}/list": {field: items}}))
    assert seen.reason
