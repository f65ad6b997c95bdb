"""Name constraints: a bundle is refused for a host exactly when OpenSSL would refuse every server of that name."""

from __future__ import annotations

import json
from ipaddress import ip_network
from typing import TYPE_CHECKING, Final

import pytest
from cryptography import x509
from handmade import SINCE_3_13, UP_TO_3_12, HandmadeCa, name, new_key, verify_code
from hypothesis import given
from hypothesis import strategies as st
from raw_servers import NOW, VALID

from reconciler.core.certificate import NameConstraints, ParsedCertificate
from reconciler.core.constraints import excludes, refusal, tls_host
from reconciler.core.desired import Material, assemble
from reconciler.core.manifest import read_manifests
from reconciler.core.pem import read_pem
from reconciler.core.problems import Severity
from reconciler.core.snapshot import Files
from reconciler.core.trust import anchors
from reconciler.demo.pki import self_signed
from reconciler.schema_files import load_schemas

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reconciler.core.model import DesiredState
    from reconciler.core.problems import Problem

SCHEMAS = load_schemas()


def tree(text: str) -> x509.GeneralName:
    """Return a subtree: a network if it has a slash, else a DNS name."""
    return x509.IPAddress(ip_network(text)) if "/" in text else x509.DNSName(text)


def constrained(
    permitted: Sequence[x509.GeneralName],
    excluded: Sequence[x509.GeneralName] = (),
    parent: HandmadeCa | None = None,
) -> HandmadeCa:
    extension = x509.NameConstraints(permitted or None, excluded or None)
    return HandmadeCa.faultless("Constrained", (extension, True), parent=parent)


def tops(*cas: HandmadeCa) -> list[ParsedCertificate]:
    return anchors([read_pem("ca.pem", "\n".join(ca.pem for ca in cas).encode())])


def url(host: str) -> str:
    return f"https://[{host}]:8443/mcp" if ":" in host else f"https://{host}/mcp"


def verdict(host: str, *cas: HandmadeCa) -> Problem | None:
    return excludes(tops(*cas), url(host), "payments")


CASES: Final = {
    "the domain itself": (["corp.example"], [], "corp.example", 0),
    "below the domain": (["corp.example"], [], "a.b.corp.example", 0),
    "in capitals": (["CORP.example"], [], "A.corp.EXAMPLE", 0),
    "a longer name with the same end": (["corp.example"], [], "xcorp.example", 47),
    "above the domain": (["corp.example"], [], "example", 47),
    "a leading dot, the domain itself": ([".corp.example"], [], "corp.example", 47),
    "a leading dot, below it": ([".corp.example"], [], "a.corp.example", 0),
    "a leading dot, deeper": ([".corp.example"], [], "a.b.corp.example", 0),
    "every name permitted": ([""], [], "corp.example", 0),
    "one of several": (["a.example", "b.example"], [], "b.example", 0),
    "none of several": (["a.example", "b.example"], [], "c.example", 47),
    "excluded": ([], ["corp.example"], "corp.example", 48),
    "below the excluded": ([], ["corp.example"], "a.corp.example", 48),
    "beside the excluded": ([], ["corp.example"], "a.example", 0),
    "the excluded without its leading dot": ([], [".corp.example"], "corp.example", 0),
    "every name excluded": ([], [""], "corp.example", 48),
    "every name excluded, and an address": ([], [""], "10.0.0.1", 0),
    "excluded below the permitted": (["example"], ["x.example"], "a.x.example", 48),
    "permitted beside the excluded": (["example"], ["x.example"], "y.example", 0),
    "a DNS constraint and an IPv4 address": (["corp.example"], [], "10.0.0.1", 0),
    "a DNS constraint and an IPv6 address": (["corp.example"], [], "fd00::1", 0),
    "an IP constraint and a DNS name": (["10.0.0.0/8"], [], "corp.example", 0),
    "within the network": (["10.0.0.0/8"], [], "10.1.2.3", 0),
    "outside the network": (["10.0.0.0/8"], [], "11.0.0.1", 47),
    "IPv6 where IPv4 is permitted": (["10.0.0.0/8"], [], "fd00::1", 47),
    "IPv4 where IPv6 is permitted": (["fd00::/8"], [], "10.0.0.1", 47),
    "within the IPv6 network": (["fd00::/8"], [], "fd00::1", 0),
    "outside the IPv6 network": (["fd00::/8"], [], "fe80::1", 47),
    "within the excluded network": ([], ["10.0.0.0/8"], "10.0.0.1", 48),
    "IPv6 where IPv4 is excluded": ([], ["0.0.0.0/0"], "::1", 0),
    "within the excluded IPv6 network": ([], ["fd00::/8"], "fd00::1", 48),
    "mapped IPv4 where IPv4 is excluded": ([], ["0.0.0.0/0"], "::ffff:10.0.0.1", 0),
}


@pytest.mark.parametrize(("permitted", "excluded", "host", "code"), CASES.values(), ids=CASES)
def test_a_host_is_excluded_exactly_when_openssl_refuses_its_server(
    permitted: list[str], excluded: list[str], host: str, code: int
) -> None:
    ca = constrained([tree(each) for each in permitted], [tree(each) for each in excluded])
    for flags in (UP_TO_3_12, SINCE_3_13):
        assert verify_code(ca.pem, ca.server(host.lower()), host.lower(), flags) == code
    assert (verdict(host, ca) is not None) == (code != 0)


OTHER_KINDS: Final = {
    "a mail domain": x509.RFC822Name("corp.example"),
    "a URI domain": x509.UniformResourceIdentifier(".corp.example"),
    "another kind": x509.OtherName(x509.ObjectIdentifier("1.2.3"), b"\5\0"),
    "a directory name that servers have": x509.DirectoryName(name("server")),
}


@pytest.mark.parametrize("kind", OTHER_KINDS.values(), ids=OTHER_KINDS)
def test_constraints_on_other_kinds_of_names_say_nothing_of_a_host(kind: x509.GeneralName) -> None:
    ca = constrained([kind])
    assert verify_code(ca.pem, ca.server("mcp.example"), "mcp.example") == 0
    assert verdict("mcp.example", ca) is None


LABELS = st.sampled_from(["a", "b", "ab"])
NAMES = st.lists(LABELS, min_size=1, max_size=3).map(".".join)
DOMAINS = st.just("") | NAMES | NAMES.map(".{}".format)
NETWORKS = st.sampled_from(["10.0.0.0/8", "10.1.0.0/16", "0.0.0.0/0", "fd00::/8", "::/0", "10.0.0.1/32"])
SUBTREES = st.lists(DOMAINS | NETWORKS, max_size=3)
HOSTS = NAMES | st.sampled_from(["10.0.0.1", "10.1.0.1", "192.168.0.1", "fd00::1", "2001:db8::1"])
PAIRS = st.tuples(SUBTREES, SUBTREES).filter(any)


@given(PAIRS, HOSTS)
def test_whatever_the_constraints_the_verdict_is_openssls(pair: tuple[list[str], list[str]], host: str) -> None:
    permitted, excluded = pair
    ca = constrained([tree(each) for each in permitted], [tree(each) for each in excluded])
    assert (verdict(host, ca) is not None) == (verify_code(ca.pem, ca.server(host), host) in {47, 48})


def test_a_constraint_of_a_ca_above_binds_those_below_it() -> None:
    root = constrained([tree("corp.example")])
    below = HandmadeCa.faultless("Below", parent=root)
    text = f"{root.pem}\n{below.pem}"
    for host, code in (("a.corp.example", 0), ("other.example", 47)):
        assert verify_code(text, below.server(host), host) == code
        assert (verdict(host, below, root) is not None) == (code != 0)


def test_a_constraint_of_a_ca_below_does_not_bind_the_one_above_it() -> None:
    root = HandmadeCa.faultless("Root")
    below = constrained([tree("corp.example")], parent=root)
    text = f"{root.pem}\n{below.pem}"
    assert verify_code(text, below.server("other.example"), "other.example") == 47
    assert verify_code(text, root.server("other.example"), "other.example") == 0
    assert verdict("other.example", root, below) is None


def test_one_ca_that_permits_the_host_is_enough() -> None:
    narrow, other = constrained([tree("corp.example")]), constrained([tree("other.example")])
    assert verdict("other.example", narrow, other) is None
    assert verdict("third.example", narrow, other) is not None
    assert verdict("third.example", narrow, HandmadeCa.faultless("Root")) is None


def test_a_cross_signed_ca_permits_what_one_of_its_two_ways_permits() -> None:
    key, above = new_key(), constrained([tree("corp.example")])
    own, cross = HandmadeCa.faultless("Twice", key=key), HandmadeCa.faultless("Twice", key=key, parent=above)
    assert verdict("other.example", above, cross) is not None
    assert verdict("other.example", above, own, cross) is None


def test_a_pinned_server_needs_nobody_to_vouch_for_it() -> None:
    pinned = read_pem("server.pem", self_signed(["mcp.example"], VALID).leaf_pem.encode())
    both = [*tops(constrained([tree("corp.example")])), *anchors([pinned])]
    assert excludes(both, "https://mcp.example/mcp", "payments") is None


def test_the_problem_names_the_ca_the_host_and_the_constraint() -> None:
    problem = verdict("mcp.example", constrained([tree(".corp.example"), tree("10.0.0.0/8")]))
    assert problem is not None
    assert (problem.code, problem.severity, problem.gateways) == ("ca-excludes-host", Severity.ERROR, ("payments",))
    assert (problem.location.file, problem.location.line) == ("ca.pem", 1)
    assert problem.message == (
        "no CA of the bundle may vouch for mcp.example, the host of `payments`: "
        "CN=Constrained permits only .corp.example"
    )


def test_of_many_cas_and_constraints_a_few_are_shown() -> None:
    many = [constrained([tree(f"{letter}.example") for letter in "abcde"]) for _ in range(5)]
    problem = verdict("x.example", *many)
    assert problem is not None
    assert problem.message.count("permits only a.example, b.example, c.example and 2 more") == 3
    assert problem.message.endswith("and 2 more")


def test_what_is_excluded_altogether_is_said_so() -> None:
    excluded = NameConstraints((), ("",))
    assert refusal(excluded, "mcp.example") == "excludes every DNS name"


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("https://mcp.example/mcp", "mcp.example"),
        ("https://MCP.Example.:8443", "mcp.example"),
        ("https://10.0.0.1", "10.0.0.1"),
        ("https://[FD00::1]:8443/x", "fd00::1"),
        ("http://mcp.example/mcp", None),
        ("https://[:::::]/", None),
        ("https:///mcp", None),
        ("", None),
    ],
)
def test_only_tls_asks_who_a_host_is(address: str, host: str | None) -> None:
    found = tls_host(address)
    assert (found if found is None else str(found)) == host


def assembled(hosts: Sequence[str], *cas: HandmadeCa) -> DesiredState:
    texts = {
        f"{number}.yaml": json.dumps(
            {
                "apiVersion": "reconciler/v1",
                "kind": "Gateway",
                "metadata": {"name": f"gateway-{number}"},
                "spec": {"url": url(host), "transport": "sse", "tls": {"caCertificates": ["ca.pem"]}},
            }
        ).encode()
        for number, host in enumerate(hosts)
    }
    read = [read_manifests(file, data, SCHEMAS) for file, data in texts.items()]
    pem = "# ours\n" + "\n".join(ca.pem for ca in cas)
    material = Material([each for file in read for each in file.manifests], texts, Files({"ca.pem": pem.encode()}, {}))
    return assemble(material, NOW)


def test_the_gateways_of_excluded_hosts_are_left_out_and_the_others_are_not() -> None:
    state = assembled(["a.corp.example", "b.example", "c.example"], constrained([tree("corp.example")]))
    assert list(state.gateways) == ["gateway-0"]
    assert [(p.code, p.location.file, p.location.line, p.gateways) for p in state.problems] == [
        ("ca-excludes-host", "ca.pem", 2, ("gateway-1",)),
        ("ca-excludes-host", "ca.pem", 2, ("gateway-2",)),
    ]
    assert not state.complete


def test_a_bundle_without_name_constraints_vouches_for_every_host() -> None:
    state = assembled(["a.example", "10.0.0.1", "fd00::1"], HandmadeCa.faultless("Root"))
    assert (len(state.gateways), state.problems) == (3, ())
