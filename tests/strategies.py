"""Gateways of every shape that a manifest can give them, and what git says about them, for hypothesis."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import strategies as st

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
from reconciler.core.problems import Location, Problem, Severity

if TYPE_CHECKING:
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
