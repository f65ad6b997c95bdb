"""Rows of ContextForge that others wrote: shown as found, whatever is in them, and never a reason to fail."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from reconciler.composition import access
from reconciler.core.canonical import document
from reconciler.core.model import Auth, SecretReference, Stamp
from reconciler.stores.contextforge.marks import Sealed, own_tags, record_of, sealed_of, stamp_of, tags_of
from reconciler.stores.contextforge.rows import live_gateway

ACCESS = access({}, None)
FIELDS = (
    *("name", "url", "transport", "description", "enabled", "visibility", "teamId", "team", "tags", "version"),
    *("passthroughHeaders", "caCertificate", "caCertificateSig", "clientCert", "clientKey", "gatewayMode", "authType"),
    *("authUsername", "authPassword", "authToken", "authHeaders", "authQueryParamKey", "oauthConfig"),
)
RECORD = "0123456789abcdef" * 8

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
marks = st.builds(
    lambda key, label: {"id": key, "label": label},
    st.sampled_from(["managed-by:a", "managed-by:b", "reconciler:secrets", "reconciler:prune", "reconciler:record-1:"]),
    st.text() | anything.map(json.dumps),
)
rows = st.fixed_dictionaries(
    {"id": st.text()},
    optional={
        **dict.fromkeys(FIELDS, anything),
        "tags": st.lists(marks | anything),
        "authType": st.sampled_from(["bearer", "basic", "authheaders", "query_param", "oauth", "one_time_auth"])
        | anything,
    },
)


@given(rows)
@example({"id": "1", "tags": [{"id": "reconciler:secrets", "label": '{"version": "' + "9" * 5000 + '"}'}]})
@example({"id": "1", "oauthConfig": {"scopes": "pay", "grant_type": "password"}, "authType": "oauth"})
def test_any_row_can_be_shown(row: dict[str, Any]) -> None:
    found = live_gateway(row, ACCESS)
    assert isinstance(found.record, str)
    assert isinstance(found.gateway.name, str)
    document(found.gateway)


owners = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,61}[A-Za-z0-9]", fullmatch=True)
tags = st.lists(st.from_regex(r"[a-z0-9][a-z0-9.:-]{0,61}[a-z0-9]", fullmatch=True), unique=True).map(sorted)


@given(tags, owners, st.text(), st.text(), st.booleans())
def test_marks_come_back_from_the_tags_that_they_were_put_in(
    own: list[str], owner: str, manifest: str, revision: str, protected: bool
) -> None:
    stamp = Stamp(owner, manifest, revision, "sha256:1", protected)
    sealed = Sealed((("token", SecretReference("env", "TOKEN")),), None, 3, "references", "values")
    written = tags_of(own, stamp, RECORD, sealed)
    assert stamp_of(written) == stamp
    assert (record_of(written), sealed_of(written)) == (RECORD, sealed)
    assert own_tags(written) == tuple(tag for tag in own if not tag.startswith(("managed-by:", "reconciler:")))


@given(st.lists(marks | st.text()))
def test_two_owners_are_one_that_nobody_can_be(found: list[Any]) -> None:
    stamp = stamp_of([*found, {"id": "managed-by:a", "label": "managed-by:a"}, "managed-by:b"])
    assert stamp is not None
    assert stamp.owner == "a and b"


def test_a_row_without_credentials_has_none() -> None:
    assert live_gateway({"id": "1", "name": "payments"}, ACCESS).gateway.auth == Auth()
