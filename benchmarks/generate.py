"""The input of the benchmarks: manifests that look like people's, and the CA files they share.

Everything but the key material comes from the seed, so that two runs read trees of the same shape and size.
"""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

SEED = 20261121
_NOW = datetime.now(UTC).replace(microsecond=0)  # noqa: TID251 - certificates that are valid today
_CONFIG = "apiVersion: reconciler/v1\nkind: Config\nmetadata: {name: bench}\nspec: {owner: bench}\n"
_TEAMS = ("payments", "search", "data", "shop", "finance", "platform", "docs", "sales")


def generate(root: Path, manifests: int, ca_files: int = 200) -> None:
    """Write `manifests` gateways in directories of a hundred, and `ca_files` CA files, below `root`."""
    chooser = random.Random(SEED)
    root.mkdir(parents=True, exist_ok=True)
    (root / "reconciler.yaml").write_text(_CONFIG)
    bundles = _authorities(root / "ca", ca_files)
    for number in range(manifests):
        directory = root / f"{number // 100:04d}"
        directory.mkdir(parents=True, exist_ok=True)
        (directory / f"gateway-{number:05d}.yaml").write_text(_manifest(number, chooser, bundles))


def _manifest(number: int, chooser: random.Random, bundles: list[list[str]]) -> str:
    team = chooser.choice(_TEAMS)
    lines = [
        "apiVersion: reconciler/v1",
        "kind: Gateway",
        "metadata:",
        f"  name: gateway-{number:05d}",
        f"  labels: {{team: {team}, tier: gold}}",
        "spec:",
        f"  url: https://gateway-{number:05d}.{team}.internal.example:8443/mcp",
        "  transport: streamable-http",
        f"  description: Tools of the {team} team, number {number}",
        f"  visibility: {chooser.choice(['public', 'team', 'private'])}",
        f"  tags: [{team}, internal]",
        "  tls:",
        "    caCertificates:",
        *(f"      - ../ca/{name}" for name in chooser.choice(bundles)),
    ]
    if chooser.random() < 0.5:
        lines += ["  auth:", "    type: bearer", f"    tokenFrom: {{env: TOKEN_{number}}}"]
    if chooser.random() < 0.5:
        lines += [
            "  verify:",
            "    mode: report",
            "    timeout: 5s",
            "    requireTools:",
            "      - search",
            "      - read",
        ]
    if chooser.random() < 0.3:
        lines += ["  passthroughHeaders:", "    - X-Request-Id", "    - X-Tenant"]
    return "\n".join(lines) + "\n"


def _authorities(directory: Path, count: int) -> list[list[str]]:
    """Make a fifth roots and four fifths intermediates; return the bundles, as lists of file names."""
    directory.mkdir(parents=True, exist_ok=True)
    kinds: list[Callable[[], Key]] = [
        *[lambda: rsa.generate_private_key(65537, 4096)] * 3,
        *[lambda: rsa.generate_private_key(65537, 2048)] * 5,
        *[lambda: ec.generate_private_key(ec.SECP384R1())] * 4,
        *[lambda: ec.generate_private_key(ec.SECP256R1())] * 8,
    ]
    bundles: list[list[str]] = []
    roots = []
    for number in range(count // 5):
        key = kinds[number % len(kinds)]()
        name = _name(f"Root CA {number}")
        (directory / f"root-{number}.pem").write_bytes(_certificate(name, key, name, key))
        roots.append((name, key))
        bundles.append([f"root-{number}.pem"])
    for number in range(count - count // 5):
        parent = number % len(roots)
        issuer, issuer_key = roots[parent]
        key = ec.generate_private_key(ec.SECP256R1())
        pem = _certificate(_name(f"Issuing CA {number}"), key, issuer, issuer_key)
        (directory / f"issuing-{number}.pem").write_bytes(pem)
        bundles.append([f"root-{parent}.pem", f"issuing-{number}.pem"])
    return bundles


def _name(common: str) -> x509.Name:
    return x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Benchmark"), x509.NameAttribute(NameOID.COMMON_NAME, common)]
    )


def _certificate(subject: x509.Name, key: Key, issuer: x509.Name, issuer_key: Key) -> bytes:
    public = key.public_key()
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(_NOW - timedelta(days=1))
        .not_valid_after(_NOW + timedelta(days=3650))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=False,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                key_cert_sign=True,
                crl_sign=True,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    return builder.sign(issuer_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
