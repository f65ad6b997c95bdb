"""What the platforms' guides list under troubleshooting, made real: each yields a message whose fix can be copied.

The guides are ContextForge's "Using Self-Signed Certificates with MCP Servers" and Kuadrant's "Custom CA Certificates".

`UPLOADS` are their failures of uploading, each with what its message ends with; what that says is then done, and where
it is a command, it is run as it was printed. Below are those of connecting: the CA that was uploaded is another one,
the URL matches neither CN nor SAN, the chain is not complete, and the command both tell one to run, `openssl s_client`.
What Kuadrant says of a Secret that lacks its label or its key is in tests/stores/test_kubernetes_store.py.
"""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING, NamedTuple

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from raw_servers import NOW, VALID, Script, server_context, speaking_http

from reconciler.core.chains import fingerprint
from reconciler.demo.pki import Authority, Identity, Lifetime, self_signed

if TYPE_CHECKING:
    from collections.abc import Callable

    from raw_servers import RawServer
    from terminal import Terminal

ROOT = Authority.root("Payments Root CA", VALID)
LEAF = ROOT.issue_server(["localhost"]).leaf_only()
GOOD = f"{ROOT.pem}\n".encode()
BODY = GOOD.splitlines(keepends=True)
EXPIRED = Authority.root("Old Root CA", Lifetime.expired(NOW)).pem.encode()
KEY = ROOT.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
MANY = b"\n".join(Authority.root(f"Root {number}", VALID).pem.encode() for number in range(130))


def copied(terminal: Terminal, said: str) -> None:
    """Run the command that the fix ends with."""
    found = re.search(r"fix: .*?(openssl .*)$", said, re.MULTILINE)
    assert found, said
    there = terminal.directory
    subprocess.run(found[1], shell=True, cwd=there, capture_output=True, timeout=60, check=True)  # noqa: S602 - the point


def replaced(terminal: Terminal, _said: str) -> None:
    """Put the right file in its place, which is what the other fixes come to."""
    upload(terminal, "ca.pem", GOOD)


def upload(terminal: Terminal, name: str, content: bytes) -> None:
    tls, kuadrant = {"caCertificates": [name]}, {"route": "payments"}
    terminal.gateway("payments", transport="streamable-http", tls=tls, kuadrant=kuadrant)
    (terminal.directory / "gateways" / name).write_bytes(content)


class Upload(NamedTuple):
    """What one of the guides warns of: the file, what we say of it and how to mend it, and the mending."""

    guide: str
    name: str
    content: bytes
    says: str
    fix: str
    mend: Callable[[Terminal, str], None] = replaced
    store: str = "sqlite:///gateways.db"


UPLOADS = (
    Upload("Invalid file type", "ca.txt", GOOD, "`ca.txt` does not fit", "for example `payments-root.pem`"),
    Upload("Invalid file type", "ca.cer", ROOT.certificate.public_bytes(Encoding.DER), "binary (DER) certificate",
           "openssl x509 -inform der -in gateways/ca.cer -out new.pem && mv new.pem gateways/ca.cer", copied),
    Upload("Invalid file type", "ca.crt", b"<html>sign in</html>", "an HTML or XML page, not PEM text",
           "download the certificate itself"),
    Upload("Certificate file too large", "ca.pem", GOOD + b"#" * 10_000_000, "at most 10,000,000 are read",
           "keep only the CA certificates this upstream needs"),
    Upload("Some certificates failed validation", "ca.pem", BODY[0] + BODY[1], "has no END line",
           "copy the whole certificate again, END line included"),
    Upload("Some certificates failed validation", "ca.pem", b"".join(BODY[1:]), "ca.pem:",
           "-----BEGIN CERTIFICATE-----"),
    Upload("Some certificates failed validation", "ca.pem", b"".join([*BODY[:2], *BODY[3:]]), "ca.pem:",
           "copy the certificate again; one block, one certificate"),
    Upload("Don't upload expired certificates", "ca.pem", EXPIRED, "CN=Old Root CA expired", "replace it"),
    Upload("Don't upload private keys", "ca.pem", GOOD + KEY, "private key",
           "remove the key from the file and from git's history"),
    Upload("CA certificate is invalid", "ca.pem", LEAF.certificate_pem.encode(), "CN=localhost", "CA"),
    Upload("exceeds maximum size", "ca.pem", MANY, "Kuadrant takes 65,536", "name only the CAs of this upstream", store="kubernetes://"),
)  # fmt: skip


@pytest.mark.parametrize("failure", UPLOADS, ids=lambda each: f"{each.guide}: {each.says}")
def test_what_cannot_be_uploaded_says_how_to_mend_it(terminal: Terminal, failure: Upload) -> None:
    targets = f"[{{name: default, store: '{failure.store}'}}]"
    config = f"apiVersion: reconciler/v1\nkind: Config\nmetadata: {{name: team}}\nspec: {{targets: {targets}}}\n"
    terminal.write("reconciler.yaml", config)
    upload(terminal, failure.name, failure.content)
    said = terminal("validate", expect=3).out
    problem, _, fix = said.partition("fix: ")
    assert failure.says in problem
    assert failure.fix in fix
    failure.mend(terminal, said)
    terminal("validate")


STORE = ("--store", "sqlite:///gateways.db")
COMMAND = re.compile(r"To see the same: (openssl s_client .* </dev/null)")


class Case:
    """A gateway with this bundle in front of a server with this identity, applied and then verified."""

    def __init__(self, terminal: Terminal, serve: Callable[..., RawServer]) -> None:
        self._terminal = terminal
        self._serve = serve

    def __call__(self, server: Identity, *bundle: str, host: str = "localhost", code: int = 6) -> str:
        """Return what `verify` prints, for a gateway whose bundle is `bundle`."""
        context = server_context(server)
        self.port = self._serve(speaking_http(Script()), context).port
        self.url = f"https://{host}:{self.port}/mcp"
        for number, text in enumerate(bundle):
            self._terminal.write(f"gateways/ca-{number}.pem", text)
        files = [f"ca-{number}.pem" for number in range(len(bundle))]
        tls = {"caCertificates": files, "systemTrust": False}
        self._terminal.gateway(
            "payments", url=self.url, transport="streamable-http", tls=tls, verify={"timeout": "20s"}
        )
        self._terminal("apply", "gateways", *STORE, "--no-verify", "-q")
        (self.document,) = self._terminal("verify", *STORE, "-o", "json", expect=code).document["gateways"]
        said: str = self._terminal("verify", *STORE, expect=code).out
        return said


@pytest.fixture
def case(terminal: Terminal, serve: Callable[..., RawServer]) -> Case:
    return Case(terminal, serve)


def shown_by_openssl(terminal: Terminal, said: str, *bundle: str) -> str:
    """Run the command of the message as it stands, and return the code of its verdict."""
    found = COMMAND.search(said)
    assert found, said
    terminal.write("bundle.pem", "\n".join(bundle))
    ran = subprocess.run(found[1], shell=True, capture_output=True, text=True, timeout=60, check=False)  # noqa: S602
    *_, code = re.findall(r"Verify return code: (\d+)", ran.stdout)
    return str(code)


def test_the_ca_that_was_uploaded_is_not_the_one_that_signed(
    terminal: Terminal, case: Case, root: Authority, issuing: Authority
) -> None:
    other = Authority.root("Other Root CA", VALID)
    server = issuing.issue_server(["localhost"])
    said = case(server, other.pem)
    assert "CaUnknown: CN=Payments Issuing CA" in said
    assert "was issued by CN=Payments Root CA, and that CA is not in the bundle" in said
    assert "fix: Add the certificate of CN=Payments Root CA to spec.tls.caCertificates" in said
    assert f"`reconciler ca fetch localhost:{case.port}` shows" in said
    assert "presented 1: CN=localhost, for localhost, issued by CN=Payments Issuing CA" in said
    assert f"SHA-256 {fingerprint(server.chain[0])}" in said
    assert shown_by_openssl(terminal, said, other.pem) == case.document["tls"]["code"] == "20"
    assert "1 of 1 upstream answered" in case(server, root.pem, code=0), "the fix is the cure"


def test_the_ca_was_renewed_with_a_new_key(terminal: Terminal, case: Case, root: Authority) -> None:
    old = Authority.root("Payments Root CA", VALID)
    server = root.issue_server(["localhost"])
    said = case(server, old.pem)
    assert "CaRotated: The bundle holds CN=Payments Root CA, but with another key" in said
    assert shown_by_openssl(terminal, said, old.pem) == case.document["tls"]["code"]
    assert "1 of 1 upstream answered" in case(server, old.pem, root.pem, code=0)


def test_the_url_matches_neither_common_name_nor_alternative_name(
    terminal: Terminal, case: Case, root: Authority
) -> None:
    server = root.issue_server(["localhost"])
    said = case(server, root.pem, host="127.0.0.1")
    assert "NameMismatch: The certificate that 127.0.0.1" in said
    assert "is not for 127.0.0.1; it is for localhost." in said
    assert f"fix: Write https://localhost:{case.port}/… in spec.url" in said
    assert "subjectAltName=IP:127.0.0.1" in said
    assert shown_by_openssl(terminal, said, root.pem) == case.document["tls"]["code"] == "64"
    assert "1 of 1 upstream answered" in case(server, root.pem, host="localhost", code=0)


def test_the_chain_is_not_complete(terminal: Terminal, case: Case, root: Authority, issuing: Authority) -> None:
    server = issuing.issue_server(["localhost"]).leaf_only()
    said = case(server, root.pem)
    assert "IntermediateMissing: localhost" in said
    assert "sends its own certificate alone, and its issuer, CN=Payments Issuing CA, is not in the bundle" in said
    assert "(the full chain, leaf first), or add it to spec.tls.caCertificates" in said
    assert shown_by_openssl(terminal, said, root.pem) == case.document["tls"]["code"] == "20"
    for order in ([root.pem, issuing.pem], [issuing.pem, root.pem]):
        assert "1 of 1 upstream answered" in case(server, *order, code=0), "in any order"


def test_the_intermediate_was_uploaded_without_its_root(terminal: Terminal, case: Case, issuing: Authority) -> None:
    server = issuing.issue_server(["localhost"])
    said = case(server, issuing.pem)
    assert "RootMissing: The bundle holds the intermediate CN=Payments Issuing CA" in said
    assert "fix: Add the certificate of CN=Payments Root CA to spec.tls.caCertificates." in said
    assert shown_by_openssl(terminal, said, issuing.pem) == case.document["tls"]["code"] == "2"


def test_a_self_signed_server_whose_certificate_was_not_uploaded(
    terminal: Terminal, case: Case, root: Authority
) -> None:
    server = self_signed(["localhost"], VALID)
    said = case(server, root.pem)
    assert f"SelfSigned: localhost:{case.port} presents a self-signed certificate" in said
    assert "add exactly this certificate to spec.tls.caCertificates" in said
    assert shown_by_openssl(terminal, said, root.pem) == case.document["tls"]["code"] == "18"
    fetched = terminal("ca", "fetch", f"localhost:{case.port}", "-q").out
    assert "1 of 1 upstream answered" in case(server, fetched, code=0), "what `ca fetch` prints is the cure"


@pytest.mark.parametrize(
    ("lifetime", "reason", "code"), [("expired", "CertificateExpired", "10"), ("future", "CertificateNotYetValid", "9")]
)
def test_the_certificate_is_out_of_date(
    terminal: Terminal, case: Case, root: Authority, lifetime: str, reason: str, code: str
) -> None:
    said = case(root.issue_server(["localhost"], getattr(Lifetime, lifetime)(NOW)), root.pem)
    assert f"{reason}: CN=localhost, the certificate of localhost:{case.port}" in said
    assert "the clock here says" in said
    assert shown_by_openssl(terminal, said, root.pem) == case.document["tls"]["code"] == code


def test_a_change_is_held_before_it_breaks_what_works_and_says_what_is_missing(
    terminal: Terminal, case: Case, root: Authority, issuing: Authority
) -> None:
    """`verify.mode: required`: the old row stays, and the message names the certificate that the new bundle lacks."""
    case(issuing.issue_server(["localhost"]), root.pem, code=0)
    terminal.write("gateways/ca-0.pem", Authority.root("Other Root CA", VALID).pem)
    tls = {"caCertificates": ["ca-0.pem"], "systemTrust": False}
    required = {"mode": "required", "timeout": "20s"}
    terminal.gateway("payments", url=case.url, transport="streamable-http", tls=tls, verify=required)
    held = terminal("apply", "gateways", *STORE, expect=6).out
    assert "held, because the upstream would not work with it (CaUnknown)" in held
    assert "fix: Add the certificate of CN=Payments Root CA to spec.tls.caCertificates" in held
    assert terminal("verify", *STORE).code == 0
