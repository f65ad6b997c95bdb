"""For hypothesis: gateways of every shape that a manifest can give them, what git says of them, and hostile files."""

from __future__ import annotations

from copy import deepcopy
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

import yaml
from hypothesis import strategies as st

from reconciler.core.levels import Suppressed, Suppression
from reconciler.core.model import (
    Auth,
    ContextForgeOptions,
    DesiredGateway,
    Gateway,
    KuadrantOptions,
    SecretReference,
    Transport,
    VerifyPolicy,
    Visibility,
)
from reconciler.core.problems import Location, Problem, Severity, in_order
from reconciler.reports.validation import Validation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Literal

LARGE_BUNDLE = "\n".join(["-----BEGIN CERTIFICATE-----", *["ABCDEFGH" * 8] * 1024, "-----END CERTIFICATE-----"])[:65536]

AUTH_TYPES: tuple[Literal["none", "bearer", "basic", "headers", "queryParameter", "oauth"], ...] = (
    "none",
    "bearer",
    "basic",
    "headers",
    "queryParameter",
    "oauth",
)

texts = st.text(max_size=40)
words = st.text(min_size=1, max_size=20)
names = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?", fullmatch=True)
bundles = st.one_of(st.just(""), st.just(LARGE_BUNDLE), st.text(max_size=200).map(str.strip))
references = st.one_of(
    st.builds(SecretReference, st.sampled_from(("env", "file")), words),
    st.builds(SecretReference, st.just("secretKeyRef"), words, words),
)


def pairs(values: st.SearchStrategy[object]) -> st.SearchStrategy[tuple[tuple[str, object], ...]]:
    """Return sorted pairs with unique names, as canonical values have them."""
    return st.dictionaries(words, values, max_size=3).map(
        lambda found: tuple(sorted(found.items(), key=lambda p: p[0]))
    )


auths = st.builds(Auth, st.sampled_from(AUTH_TYPES), pairs(texts), pairs(references))
kuadrant_options = st.builds(KuadrantOptions, texts, texts, st.lists(words, max_size=3).map(tuple), texts)
gateways = st.builds(
    Gateway,
    name=names,
    url=words.map(lambda path: f"https://upstream.example/{path}"),
    transport=st.sampled_from(Transport),
    description=texts,
    enabled=st.booleans(),
    visibility=st.sampled_from(Visibility),
    tags=st.sets(words, max_size=4).map(lambda tags: tuple(sorted(tags))),
    passthrough_headers=st.lists(words, max_size=3).map(tuple),
    ca_certificate=bundles,
    system_trust=st.booleans(),
    client_certificate=bundles,
    client_key=st.none() | references,
    auth=auths,
    contextforge=st.builds(ContextForgeOptions, st.sampled_from(("cache", "direct_proxy")), texts),
    kuadrant=kuadrant_options,
)
fleets = st.lists(gateways, max_size=6, unique_by=lambda gateway: gateway.name.replace("-", ""))

desired_gateways = st.builds(
    DesiredGateway,
    gateways,
    st.builds(Location, words, st.integers(1, 9999)),
    pairs(texts),
    st.builds(
        VerifyPolicy,
        st.sampled_from(("required", "report", "off")),
        st.floats(0.001, 6000),
        st.lists(words, max_size=3).map(tuple),
    ),
    st.booleans(),
)
desired_fleets = st.lists(desired_gateways, max_size=4, unique_by=lambda wanted: wanted.gateway.name)
problems = st.builds(
    Problem,
    words,
    st.sampled_from(Severity),
    texts,
    st.builds(Location, words, st.integers(1, 999), st.integers(1, 99), texts, texts, st.integers(1, 99)),
    texts,
)

hostile = st.text(st.sampled_from("a1 .:,%`[](){}<>&\"'@#/\\*_|!\t\n\r\x00\x1b\x9b\u202e\u2028\udcff名"), max_size=30)
hostile_problems = st.builds(
    Problem,
    st.sampled_from(("plain-http", "wrong-value", "same-url")),
    st.sampled_from(Severity),
    hostile,
    st.builds(
        Location,
        hostile.map(lambda name: f"a/{name}"),
        st.integers(1, 999),
        st.integers(1, 20),
        texts,
        hostile,
        st.integers(1, 20),
    ),
    hostile,
)
suppressions = st.builds(Suppression, st.just("plain-http"), names, hostile, st.dates(), st.just(Location("r.yaml")))
validations = st.builds(
    Validation,
    st.lists(problems | hostile_problems, max_size=6).map(in_order),
    st.integers(0, 9999),
    st.lists(words, max_size=3).map(sorted),
    st.lists(
        st.builds(Suppressed, hostile_problems, st.lists(suppressions, min_size=1, max_size=2).map(tuple)), max_size=2
    ),
    st.none() | st.dictionaries(words, st.lists(st.builds(range, st.integers(1, 9), st.integers(1, 9)), max_size=2)),
)

# Manifests as people write them, and as nobody should: text, for what is wrong with a document is often in its text.

_odd_values: st.SearchStrategy[object] = st.sampled_from(
    (None, True, 0, 1.5, -(10**30), "", "x" * 5000, "0755", "NO", "\u202eltr", "a\nb", [], [[]], {}, {"a": None})
)
_spec_fields = {
    "transport": st.sampled_from(("sse", "streamable-http")),
    "enabled": st.booleans(),
    "description": st.text(max_size=20),
    "tags": st.just(["payments", "prod"]),
    "tls": st.fixed_dictionaries(
        {"caCertificates": st.lists(st.sampled_from(("ca.pem", "../ca.crt", "a/../b.pem")), min_size=1, unique=True)},
        optional={"systemTrust": st.booleans()},
    ),
    "auth": st.just({"type": "bearer", "tokenFrom": {"env": "TOKEN"}}),
    "verify": st.just({"mode": "report", "timeout": "5s"}),
}
_kinds = {
    "Gateway": st.fixed_dictionaries({"url": st.just("https://x.example/mcp")}, optional=_spec_fields),
    "Defaults": st.fixed_dictionaries({}, optional=_spec_fields),
    "Config": st.just({"path": "gateways", "targets": [{"name": "test", "policy": "sync"}]}),
}
_manifests = st.one_of(
    [
        st.fixed_dictionaries(
            {
                "apiVersion": st.just("reconciler/v1"),
                "kind": st.just(kind),
                "metadata": st.fixed_dictionaries({"name": names}, optional={"labels": st.just({"team": "payments"})}),
                "spec": spec,
            }
        )
        for kind, spec in _kinds.items()
    ]
)
_foreign = st.just({"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "1"}})


def _mutated(document: dict[str, Any], mutations: list[tuple[str, int, object]]) -> object:
    """Return the document with some of its fields lost, renamed or holding something else."""
    mutated = deepcopy(document)
    for what, at, odd in mutations:
        places = list(_places(mutated))
        container, key = places[at % len(places)]
        if what == "lost":
            del container[key]
        elif what == "renamed" and isinstance(container, dict):
            container[f"{key}s"] = container.pop(key)
        else:
            container[key] = deepcopy(odd)
    return mutated


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, below in items:
        yield value, key
        yield from _places(below)


_mutations = st.lists(
    st.tuples(st.sampled_from(("other value", "lost", "renamed")), st.integers(0, 99), _odd_values), max_size=2
)


def _written(documents: list[object], style: bool | None) -> str:
    return yaml.safe_dump_all(documents, default_flow_style=style, allow_unicode=True, sort_keys=False)


def _inserted(token: str) -> Callable[[str, int], str]:
    return lambda text, at: text[: at % (len(text) + 1)] + token + text[at % (len(text) + 1) :]


def _line_again(text: str, at: int) -> str:
    lines = text.splitlines(keepends=True)
    return "".join(lines[: at % len(lines) + 1] + lines[at % len(lines) :]) if lines else text


def _line_lost(text: str, at: int) -> str:
    lines = text.splitlines(keepends=True)
    return "".join(lines[: at % len(lines)] + lines[at % len(lines) + 1 :]) if lines else text


_EVERYWHERE: tuple[Callable[[str, int], str], ...] = (
    _line_again,
    _line_again,
    _line_lost,
    lambda text, at: text[: at % (len(text) + 1)],
    lambda text, _: "\ufeff" + text,
    lambda text, _: text.replace("\n", "\r\n"),
    lambda text, _: text.replace("\n", "\r"),
)
_YAML_TOKENS = (
    *(
        "&x ",
        "*x",
        "<<: *x\n",
        "!!str ",
        "!x ",
        "? ",
        ": ",
        "- ",
        "|\n",
        "'",
        '"',
        "{",
        "]",
        "\t",
        "\n\t",
        " ",
        "\n---\n",
    ),
    *(
        "\n...\n",
        "%YAML 1.2\n",
        "#",
        "\0",
        "\x85",
        "\u2028",
        "\ufeff",
        "\U0001f511",
        "\\",
        '"\\0"',
        "[" * 70,
        "{a: " * 70,
    ),
    *("x" * 5000, "\n" * 50, "-----BEGIN PRIVATE KEY-----\nbm90IGEga2V5IGJ1dCBpdCBsb29rcyBsaWtlIG9uZQ\n"),
)
_yaml_damages = st.lists(
    st.tuples(st.sampled_from((*_EVERYWHERE, *map(_inserted, _YAML_TOKENS))), st.integers(0, 9999)), max_size=3
)


def _damaged(text: str, damages: list[tuple[Callable[[str, int], str], int]]) -> str:
    for damage, at in damages:
        text = damage(text, at)
    return text


manifest_texts = st.builds(
    _damaged,
    st.builds(
        _written,
        st.lists(st.builds(_mutated, _manifests | _foreign, _mutations), min_size=1, max_size=3),
        st.sampled_from((None, True, False)),
    ),
    _yaml_damages,
)

# PEM soup: real certificates and keys, each broken in the ways in which people and tools break them.


@cache
def _pem_blocks() -> tuple[str, ...]:
    """Return certificates, the private keys of the numbers 1 and 2, and a bare public key."""
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

    from reconciler.demo.pki import Authority, Lifetime

    lifetime = Lifetime(datetime(2026, 1, 1, tzinfo=UTC), datetime(2036, 1, 1, tzinfo=UTC))
    root = Authority.root("Soup Root", lifetime)
    identity = root.issue_authority("Soup Issuing").issue_server(["soup.example"])
    keys = [ec.derive_private_key(number, ec.SECP256R1()) for number in (1, 2)]
    private = [
        key.private_bytes(Encoding.PEM, form, NoEncryption()).decode()
        for key, form in zip(keys, (PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL), strict=True)
    ]
    public = keys[0].public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    return (*[root.pem, identity.certificate_pem, identity.leaf_pem] * 3, *private, public)


_PEM_TOKENS = (
    *(
        "-----",
        "BEGIN ",
        "END ",
        "CERTIFICATE",
        "PRIVATE KEY",
        "-",
        "=",
        "==",
        "*",
        ":",
        " ",
        "\n",
        "\r",
        "\t",
        "\0",
        "\x85",
    ),
    *(
        "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\n",
        "<<<<<<< HEAD\n",
        ">>>>>>> theirs\n",
        "=======\n",
        "\ufeff",
    ),
    *("\u2013", "PuTTY-User-Key-File-3: x\n", "MIIB" * 16 + "\n", "\n# a comment\n", "x" * 5000),
)
_LABELS = ("TRUSTED CERTIFICATE", "X509 CERTIFICATE", "X509 CRL", "PKCS7", "CMS", "RSA PRIVATE KEY", "certificate", "")
_pem_damages = st.lists(
    st.tuples(
        st.sampled_from((*_EVERYWHERE, *map(_inserted, _PEM_TOKENS)))
        | st.sampled_from(_LABELS).map(lambda label: lambda text, _: text.replace("CERTIFICATE", label)),
        st.integers(0, 9999),
    ),
    max_size=1,
)
_pem_pieces = st.builds(
    _damaged, st.deferred(lambda: st.sampled_from(_pem_blocks())) | st.text(max_size=60), _pem_damages
)
pem_soups = st.builds(
    lambda between, pieces: between.join(pieces).encode("utf-8", "surrogatepass"),
    st.sampled_from(("", "\n", "\r\n", "\r", " ", "\n\n")),
    st.lists(_pem_pieces, max_size=5),
) | st.binary(max_size=200)
