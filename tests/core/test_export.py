"""Dumping a store: what it holds becomes manifests, and a plan of these finds nothing to do."""

from __future__ import annotations

import json
import re
import tempfile
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import pytest
import strategies
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.core.desired import Material, assemble
from reconciler.core.export import Context, Export, export, held_by
from reconciler.core.key_order import key_order
from reconciler.core.layout import format_manifests
from reconciler.core.manifest import read_manifests
from reconciler.core.model import (
    Action,
    Audit,
    Auth,
    Change,
    ContextForgeOptions,
    Gateway,
    KuadrantOptions,
    LiveGateway,
    LiveState,
    Reason,
    SecretReference,
    Stamp,
    Transport,
    Visibility,
)
from reconciler.core.pem import read_pem
from reconciler.core.planning import Terms, plan
from reconciler.core.records import sign_record
from reconciler.core.signatures import signatures
from reconciler.core.signing import Keyring, generate, load_private_key, sign_bundle
from reconciler.core.snapshot import Files, Snapshot
from reconciler.core.trust import build_bundle
from reconciler.demo.pki import Authority, Lifetime
from reconciler.reading import compile_tree
from reconciler.schema_files import load_schemas
from reconciler.stores import open_store

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hypothesis.strategies import DrawFn

    from reconciler.core.model import DesiredState
    from reconciler.core.ports import Store

NOW: Final = datetime(2026, 10, 20, 12, 0, tzinfo=UTC)
AUDIT: Final = Audit("me", "test", NOW)
SCHEMAS: Final = load_schemas()
ORDERS: Final = {kind: key_order(json.loads(text)) for kind, text in SCHEMAS.texts.items()}
LIFETIME: Final = Lifetime.around(NOW)
ROOT, OTHER = Authority.root("Payments Root CA", LIFETIME), Authority.root("Payments Root CA", LIFETIME)
ISSUING: Final = ROOT.issue_authority("Issuing CA")
CLIENT: Final = ISSUING.issue_client("payments-client")
CONTEXT: Final = Context("memory:")
FILE: Final = re.compile(r"[a-z0-9-]+(\.gateway)?\.yaml|certificates/[a-z0-9-]+\.pem")


def bundle(*pems: str) -> str:
    """Return the canonical text of a bundle."""
    made, problems = build_bundle([read_pem(f"{number}.pem", pem.encode()) for number, pem in enumerate(pems)], NOW)
    assert made is not None, problems
    return made.pem


BUNDLES: Final = (bundle(ROOT.pem), bundle(OTHER.pem), bundle(ROOT.pem, ISSUING.pem), bundle(ROOT.pem, OTHER.pem))


class Key:
    """A signer over a new key."""

    def __init__(self) -> None:
        pair = generate()
        self.public_key = pair.public
        self._private = load_private_key(pair.private)

    def sign(self, payload: bytes) -> bytes:
        return self._private.sign(payload)


KEY: Final = Key()
SIGNATURES: Final = signatures(KEY, Keyring.of_raw({"ours": KEY.public_key}))

# Gateways of which every value can stand in a manifest.


def matching(pattern: str) -> st.SearchStrategy[str]:
    return st.from_regex(re.compile(pattern, re.ASCII), fullmatch=True)


def listed(values: st.SearchStrategy[str], most: int) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(values, max_size=most, unique=True).map(tuple)


names = st.sampled_from(("defaults", "reconciler", "certificates", "1e3", "0755", "no")) | strategies.names
odd_texts = st.sampled_from(
    (
        "NO",
        "0755",
        "1e3",
        "- x",
        "~",
        "a: b",
        "x # y",
        "two\nlines",
        "a\n\n  b",
        "\x1b[31m",
        "\u2028x",
        "\U0001f511",
        "'\"\\",
    )
)
texts = (odd_texts | st.text(max_size=40)).filter(lambda text: not text.startswith("unknown:"))
some_texts = texts.filter(bool)
urls = st.builds(
    str.__add__,
    st.sampled_from(("https://a.example", "http://[::1]:8080", "https://A_b.example:8443")),
    matching(r"(/[!\"$-<>-~]{0,12}(\?a=1&b=2)?)?"),
)
references = st.one_of(
    st.builds(SecretReference, st.just("env"), matching(r"[A-Za-z_][A-Za-z0-9_]{0,120}")),
    st.builds(SecretReference, st.just("file"), some_texts),
    st.builds(SecretReference, st.just("secretKeyRef"), some_texts, some_texts),
)
header_names = matching(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,30}")


def auths_of(
    kind: str, settings: Mapping[str, st.SearchStrategy[str]], *purposes: str, **optional: st.SearchStrategy[str]
) -> st.SearchStrategy[Auth]:
    return st.builds(
        lambda plain, secret: Auth(cast("Any", kind), tuple(sorted(plain.items())), tuple(sorted(secret.items()))),
        st.fixed_dictionaries(dict(settings), optional=optional),
        st.fixed_dictionaries(dict.fromkeys(purposes, references)),
    )


auths = st.one_of(
    st.just(Auth()),
    auths_of("bearer", {}, "token"),
    auths_of("basic", {"username": some_texts}, "password"),
    auths_of("queryParameter", {"name": matching(r"[A-Za-z0-9_.-]{1,20}")}, "value"),
    auths_of(
        "oauth",
        {"tokenUrl": st.just("https://sso.example/token?x=1"), "clientId": some_texts},
        "clientSecret",
        scopes=listed(matching(r"[!#-\[\]-~]{1,20}"), 8).map(" ".join),
    ),
    st.dictionaries(header_names, references, min_size=1, max_size=3).map(
        lambda headers: Auth("headers", (), tuple(sorted(headers.items(), key=lambda pair: pair[0])))
    ),
)
kuadrant = st.builds(
    KuadrantOptions,
    prefix=matching(r"([a-z0-9][a-z0-9_]{0,20})?"),
    route=matching(r"([a-z0-9]([-a-z0-9.]{0,20}[a-z0-9])?)?"),
    category=listed(some_texts, 3),
    hint=texts,
)
# What is long is made of a number, so that a failing example can be printed.
bundles = st.integers(0, len(BUNDLES)).map(lambda number: ("", *BUNDLES)[number])
clients = st.just(("", None)) | st.builds(lambda key: (CLIENT.certificate_pem, key), references)
expressible = st.builds(
    lambda gateway, client: replace(gateway, client_certificate=client[0], client_key=client[1]),
    st.builds(
        Gateway,
        name=names,
        url=urls,
        transport=st.sampled_from(Transport),
        description=texts.map(str.strip).filter(lambda text: not text.startswith("unknown:")),
        enabled=st.booleans(),
        visibility=st.sampled_from(Visibility),
        tags=listed(matching(r"[a-z0-9][a-z0-9.:-]{0,20}[a-z0-9]"), 12).map(lambda tags: tuple(sorted(tags))),
        passthrough_headers=listed(header_names, 6),
        ca_certificate=bundles,
        system_trust=st.booleans(),
        auth=auths,
        contextforge=st.builds(ContextForgeOptions, st.sampled_from(("cache", "direct_proxy")), texts),
        kuadrant=kuadrant,
    ),
    clients,
)
fleets = st.lists(expressible, min_size=1, max_size=4, unique_by=lambda gateway: gateway.name.replace("-", ""))

# Rows that anybody may have written.

hostile_names = st.sampled_from(
    (
        "../x",
        "/etc/x",
        "a/b",
        ".",
        "..",
        "",
        "A",
        "a\n",
        "a\n- b",
        "a\0",
        "x" * 64,
        "-a",
        "a-",
        "名",
        "unknown:b'a'",
        "\udcff",
    )
)


@st.composite
def rows_of_any_text(draw: DrawFn) -> Gateway:
    """Draw from a strategy whose own description is longer than hypothesis likes to print."""
    return draw(strategies.gateways)


any_rows = rows_of_any_text()
odd_rows = any_rows | st.builds(
    lambda row, other, chosen: replace(row, **{name: getattr(other, name) for name in chosen}),
    expressible,
    any_rows,
    st.sets(st.sampled_from([field.name for field in fields(Gateway)]), max_size=2),
)
hostile_rows = st.one_of(
    odd_rows,
    st.builds(lambda row, name: replace(row, name=name), expressible, hostile_names | st.text(max_size=10)),
    st.builds(
        lambda row, name, text: replace(row, **{name: text}),
        expressible,
        st.sampled_from(("url", "transport", "enabled", "visibility", "system_trust", "description", "ca_certificate")),
        st.text(max_size=20).map("unknown:".__add__) | strategies.hostile,
    ),
    st.builds(
        lambda row, digest: replace(row, auth=replace(row.auth, settings=(("unknown", digest),))), expressible, texts
    ),
    st.builds(lambda row, pem: replace(row, ca_certificate=pem.decode("latin-1")), expressible, strategies.pem_soups),
)


# A store, its dump, and what is made of that.


@dataclass(frozen=True)
class Dumped:
    """The files of a dump, as a source of a tree."""

    files: Mapping[str, bytes]

    def read(self, names: Iterable[str]) -> Files:
        return Files({name: self.files[name] for name in names})

    def compiled(self) -> DesiredState:
        """Return what the files want, by everything that reads and judges a tree."""
        manifests = {name: data for name, data in self.files.items() if name.endswith(".yaml")}
        pem_files = frozenset(self.files.keys() - manifests.keys())
        return compile_tree(Snapshot(manifests, pem_files), self, SCHEMAS, NOW).desired


def errors(desired: DesiredState) -> list[str]:
    return [f"{each.code}: {each.message}" for each in desired.problems if each.severity == "error"]


def stamp(name: str, *, owner: str = "us", protected: bool = False) -> Stamp:
    return Stamp(owner, f"somewhere/{name}.yaml", "main@sha1:1234", "sha256:1234", protected)


def fill(store: Store, *rows: LiveGateway) -> None:
    changes = [
        Change(
            Action.CREATE,
            row.gateway.name,
            Reason.ADDED,
            None,
            row.gateway,
            row.signature,
            row.stamp,
            record=sign_record(KEY, row.gateway, row.stamp) if row.stamp else "",
        )
        for row in rows
    ]
    assert {outcome.status for outcome in store.apply(changes, AUDIT)} == {"applied"}


def signed(gateway: Gateway, owned: Stamp | None) -> LiveGateway:
    return LiveGateway(gateway, sign_bundle(KEY, gateway.ca_certificate) if gateway.ca_certificate else "", owned, "1")


def live(*gateways: Gateway) -> LiveState:
    return LiveState({each.name: signed(each, stamp(each.name)) for each in gateways})


def dump(*gateways: Gateway, context: Context = CONTEXT) -> Export:
    return export(live(*gateways), SCHEMAS, NOW, context)


def gateway(name: str = "payments", **values: Any) -> Gateway:
    return replace(Gateway(name, f"https://{name}.example/mcp", Transport.SSE), **values)


def codes(dumped: Export) -> list[str]:
    return [problem.code for problem in dumped.problems]


def assert_round_trip(store: Store, fleet: list[Gateway], protected: bool) -> None:
    """Fill a store, dump it, and plan what was dumped: there is nothing to do, and nothing to say."""
    fill(store, *(signed(each, stamp(each.name, protected=protected)) for each in fleet))
    found = store.read()
    dumped = export(found, SCHEMAS, NOW, replace(CONTEXT, genuine=SIGNATURES.genuine))
    assert dumped.problems == ()
    desired = Dumped(dumped.files).compiled()
    assert errors(desired) == []
    planned = plan(desired, found, SIGNATURES, Terms("us", prune=True))
    assert planned.in_sync, (planned, dumped.files)
    assert planned.unchanged == len(fleet)


@settings(max_examples=60, deadline=None)
@given(fleets, st.booleans())
def test_a_plan_of_what_was_dumped_is_empty(fleet: list[Gateway], protected: bool) -> None:
    assert_round_trip(open_store("memory:", create=True), fleet, protected)


@settings(max_examples=15, deadline=None)
@given(fleets, st.booleans())
def test_a_plan_of_what_was_dumped_from_a_file_is_empty(fleet: list[Gateway], protected: bool) -> None:
    with tempfile.TemporaryDirectory() as directory:
        store = open_store(f"sqlite:///{Path(directory, 'x.db')}", create=True)
        assert_round_trip(store, fleet, protected)
        store.close()


@settings(max_examples=40, deadline=None)
@given(fleets)
def test_what_was_dumped_is_laid_out_as_fmt_has_it(fleet: list[Gateway]) -> None:
    for name, data in dump(*fleet).files.items():
        if name.endswith(".yaml"):
            formatted = format_manifests(name, data, ORDERS)
            assert (formatted.data, formatted.problems) == (data, ())


def normal(row: Gateway) -> Gateway:
    """Return a row in the form that a manifest gives it; its bundle becomes the set of its certificates."""
    by_name = sorted(row.auth.settings), sorted(row.auth.secrets, key=lambda pair: pair[0])
    return replace(
        row,
        description=row.description.strip(),
        tags=tuple(sorted(set(row.tags))),
        passthrough_headers=tuple(dict.fromkeys(row.passthrough_headers)),
        ca_certificate=str(fingerprints(row.ca_certificate)),
        client_certificate=str(fingerprints(row.client_certificate)),
        auth=Auth(row.auth.type, tuple(by_name[0]), tuple(by_name[1])),
        contextforge=replace(row.contextforge, mode=row.contextforge.mode or "cache"),
    )


def fingerprints(text: str) -> list[str]:
    return sorted({each.sha256 for each in read_pem("a.pem", text.encode()).certificates})


@settings(deadline=None)
@given(st.lists(hostile_rows, max_size=5, unique_by=lambda row: row.name))
def test_whatever_a_store_holds_what_is_written_is_valid_and_says_what_is_there(rows: list[Gateway]) -> None:
    dumped = export(LiveState({row.name: LiveGateway(row, "", None, "1") for row in rows}), SCHEMAS, NOW, CONTEXT)
    assert sorted((*dumped.written, *dumped.left_out)) == sorted(row.name for row in rows)
    assert all(FILE.fullmatch(name) for name in dumped.files)
    desired = Dumped(dumped.files).compiled()
    assert errors(desired) == []
    assert sorted(desired.gateways) == list(dumped.written)
    remarked = {name: problem.code for problem in dumped.problems for name in problem.gateways}
    assert {name for name, code in remarked.items() if code == "not-expressible"} == set(dumped.left_out)
    for row in rows:
        if row.name in dumped.written and row.name not in dumped.to_fill_in:
            described = desired.gateways[row.name].gateway
            assert described == row or remarked[row.name] == "row-not-canonical"
            assert normal(described) == normal(row)


def test_what_is_so_by_default_is_left_out_and_the_transport_is_not() -> None:
    assert dump(gateway()).files["payments.yaml"].decode() == (
        "apiVersion: reconciler/v1\n"
        "kind: Gateway\n"
        "metadata:\n"
        "  name: payments\n"
        "spec:\n"
        "  url: https://payments.example/mcp\n"
        "  transport: sse\n"
    )


def test_a_bundle_that_several_share_is_written_once() -> None:
    dumped = dump(*(gateway(name, ca_certificate=BUNDLES[0]) for name in "abc"))
    assert list(dumped.files) == ["a.yaml", "b.yaml", "c.yaml", "certificates/payments-root-ca.pem"]
    assert b"    caCertificates: [certificates/payments-root-ca.pem]\n" in dumped.files["b.yaml"]


def test_a_protected_gateway_stays_protected_and_labels_of_the_target_are_written() -> None:
    held = LiveState({"a": signed(gateway("a"), stamp("a", protected=True))})
    context = Context("memory:", {"environment": "production", "1": "0755"}, "yaml-language-server: $schema=x")
    lines = export(held, SCHEMAS, NOW, context).files["a.yaml"].decode().splitlines()
    assert lines[0] == "# yaml-language-server: $schema=x"
    assert lines[3:10] == [
        "metadata:",
        "  name: a",
        "  labels:",
        "    environment: production",
        '    "1": "0755"',
        "  annotations:",
        "    reconciler/prune: disabled",
    ]


def test_a_gateway_named_like_a_file_of_ours_gets_another_one() -> None:
    dumped = dump(gateway("reconciler"), gateway("defaults"))
    assert list(dumped.files) == ["defaults.gateway.yaml", "reconciler.gateway.yaml"]


@pytest.mark.parametrize(
    ("auth", "written"),
    [
        (Auth("bearer"), {"tokenFrom": {"env": "A_1_TOKEN"}}),
        (Auth("bearer", (("unknown", "sha256:12"),)), {"tokenFrom": {"env": "A_1_TOKEN"}}),
        (Auth("basic", (("username", "svc"),)), {"username": "svc", "passwordFrom": {"env": "A_1_PASSWORD"}}),
        (
            Auth("basic", (("unknown", "sha256:12"),)),
            {"username": "to-fill-in", "passwordFrom": {"env": "A_1_PASSWORD"}},
        ),
        (Auth("headers"), {"headers": [{"name": "To-Fill-In", "valueFrom": {"env": "A_1_HEADER"}}]}),
        (Auth("queryParameter"), {"name": "to-fill-in", "valueFrom": {"env": "A_1_VALUE"}}),
        (
            Auth("oauth", (("clientId", "x"),)),
            {
                "tokenUrl": "https://to-fill-in.invalid/token",
                "clientId": "x",
                "clientSecretFrom": {"env": "A_1_CLIENT_SECRET"},
            },
        ),
    ],
)
def test_where_the_store_does_not_say_where_a_secret_is_there_is_a_place_to_fill_in(
    auth: Auth, written: dict[str, Any]
) -> None:
    dumped = dump(gateway("a-1", auth=auth))
    assert codes(dumped) == ["secret-to-fill-in"]
    assert (dumped.written, dumped.to_fill_in) == (("a-1",), ("a-1",))
    text = dumped.files["a-1.yaml"]
    (manifest,) = read_manifests("a-1.yaml", text, SCHEMAS).manifests
    assert manifest.spec["auth"] == {"type": auth.type, **written}
    assert b"  # to fill in\n" in text
    assert b"sha256:12" not in text
    assert errors(Dumped(dumped.files).compiled()) == []


@pytest.mark.parametrize("key", [None, SecretReference(cast("Any", "unknown"), "sha256:12")])
def test_the_key_of_a_client_certificate_is_filled_in_likewise(key: SecretReference | None) -> None:
    dumped = dump(gateway("1a", client_certificate=CLIENT.certificate_pem, client_key=key))
    assert b"    clientKeyFrom: {env: _1A_CLIENT_KEY}  # to fill in\n" in dumped.files["1a.yaml"]
    assert "what tls.clientKeyFrom of `1a` refer to" in dumped.problems[0].message


EXPIRED: Final = Authority.root("Old CA", Lifetime.expired(NOW)).pem


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"name": "../x"}, "its name is no DNS label"),
        ({"transport": "unknown:'STDIO'"}, "transport is nothing that we know"),
        ({"enabled": ""}, "enabled is nothing that we know"),
        ({"tags": ("unknown:{",)}, "tags is nothing that we know"),
        ({"description": "\udcff"}, "description is not text"),
        ({"url": "ftp://a.example"}, "`ftp://a.example` does not fit"),
        ({"ca_certificate": "nothing"}, "its PEM text, line 1: there is no certificate in the file"),
        ({"ca_certificate": EXPIRED}, "expired"),
        ({"ca_certificate": CLIENT.leaf_pem}, "CN=payments-client"),
        ({"auth": Auth("bearer", (("realm", "x"),))}, "its authentication has what bearer has not: realm"),
        ({"auth": Auth("none", (), (("x", SecretReference("env", "X")),))}, "what none has not: xFrom"),
        ({"auth": Auth("none", (("unknown", "sha256:12"),))}, "what none has not: unknown"),
        ({"auth": Auth("bearer", (("unknown", "x"),), (("token", SecretReference("env", "X")),))}, "not: unknown"),
        ({"client_key": SecretReference("env", "KEY")}, "clientCertificate"),
        ({"kuadrant": KuadrantOptions(prefix="A B")}, "`A B` does not fit"),
    ],
)
def test_what_no_manifest_can_say_is_left_out_with_the_reason(values: dict[str, Any], why: str) -> None:
    odd, right = gateway(**values), gateway("right", ca_certificate=BUNDLES[0])
    dumped = dump(odd, right)
    assert (dumped.written, dumped.left_out) == (("right",), (odd.name,))
    assert list(dumped.files) == ["certificates/payments-root-ca.pem", "right.yaml"]
    (problem,) = dumped.problems
    assert (problem.code, problem.gateways) == ("not-expressible", (odd.name,))
    assert why in problem.message


def test_a_url_with_a_password_is_not_repeated() -> None:
    (problem,) = dump(gateway(url="https://me:hunter2@a.example/mcp")).problems
    assert "hunter2" not in str(problem)


@pytest.mark.parametrize(
    "values",
    [
        {"ca_certificate": f"ours:\n{ROOT.pem}\n"},
        {"ca_certificate": f"{ISSUING.pem}\n{ROOT.pem}"},
        {"description": " Payments\n"},
        {"tags": ("beta", "alpha", "beta")},
        {"passthrough_headers": ("X-A", "X-A")},
        {"contextforge": ContextForgeOptions(mode="")},
    ],
)
def test_a_row_in_another_form_is_written_in_ours_and_that_is_said(values: dict[str, Any]) -> None:
    odd = gateway(**values)
    dumped = dump(odd)
    assert codes(dumped) == ["row-not-canonical"]
    assert next(iter(values)) in dumped.problems[0].message
    assert normal(Dumped(dumped.files).compiled().gateways["payments"].gateway) == normal(odd)


def test_a_bundle_that_nobody_we_trust_has_signed_is_pointed_out() -> None:
    ours, forged, unsigned, unowned = (gateway(name, ca_certificate=BUNDLES[0]) for name in "abcd")
    held = LiveState(
        {
            "a": signed(ours, stamp("a")),
            "b": replace(signed(forged, stamp("b")), signature="00" * 64),
            "c": replace(signed(unsigned, stamp("c")), signature=""),
            "d": replace(signed(unowned, None), signature=""),
        }
    )
    dumped = export(held, SCHEMAS, NOW, Context("memory:", genuine=SIGNATURES.genuine))
    assert [(each.code, each.gateways) for each in dumped.problems] == [
        ("bundle-not-genuine", ("b",)),
        ("bundle-not-genuine", ("c",)),
    ]
    assert dumped.written == ("a", "b", "c", "d")


def test_what_an_owner_holds_and_what_nobody_does() -> None:
    rows = {"a": "us", "b": "them", "c": None}
    held = LiveState(
        {name: signed(gateway(name), stamp(name, owner=owner) if owner else None) for name, owner in rows.items()}
    )
    assert list(held_by(held, "us").gateways) == ["a", "c"]
    assert list(held_by(held, "them").gateways) == ["b", "c"]


def test_nothing_becomes_nothing() -> None:
    assert dump() == Export({}, (), (), (), ())
    assert assemble(Material((), {}, Files()), NOW).gateways == {}
