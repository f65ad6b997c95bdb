"""Certificates as people know them: who, until when, which fingerprint. Never as a wall of base64."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reconciler.core.hostile import printable
from reconciler.reports.problems import FORMAT_VERSION, diagnostics
from reconciler.reports.style import NAME_LIMIT, PLAIN, Style, counted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from reconciler.core.model import Certificate, TrustBundle
    from reconciler.core.observation import PresentedCertificate
    from reconciler.core.problems import Problem


def one_line(certificate: Certificate, now: datetime) -> str:
    """Return subject, `(Root CA)` where it is one, expiry and a short fingerprint."""
    root = " (Root CA)" if certificate.root and certificate.ca else ""
    return f"{certificate.subject}{root}, {expiry(certificate.not_after, now)}, sha256 {certificate.sha256[:16]}…"


def expiry(not_after: datetime, now: datetime) -> str:
    """Return `expires 2030-01-31 (in 120 days)`, or `expired …`."""
    days = (not_after - now).days
    day = f"{not_after:%Y-%m-%d}"
    return f"expired {day} ({counted(-days, 'day')} ago)" if days < 0 else f"expires {day} (in {counted(days, 'day')})"


def as_text(
    bundle: TrustBundle | None,
    sizes: Mapping[str, int],
    problems: Sequence[Problem],
    now: datetime,
    style: Style = PLAIN,
) -> str:
    """Return what `ca inspect` shows: each file's status, then the certificates in bundle order."""
    failed = {problem.location.file for problem in problems if problem.severity == "error"}
    lines = [_file_line(name, size, name in failed, bundle, style) for name, size in sizes.items()]
    if bundle is not None:
        lines.append("")
        lines.append(f"{counted(len(bundle.certificates), 'certificate')}, in bundle order:")
        lines.extend(_certificate_lines(bundle.certificates, now, style))
        lines.append("")
        lines.append(f"bundle sha256 {bundle.sha256}")
    return "\n".join(lines)


def as_document(bundle: TrustBundle | None, problems: Sequence[Problem]) -> dict[str, Any]:
    """Return the published JSON shape of `ca inspect`."""
    return {
        "format_version": FORMAT_VERSION,
        "certificates": [certificate_document(certificate) for certificate in bundle.certificates] if bundle else [],
        "bundle_sha256": bundle.sha256 if bundle else "",
        "diagnostics": diagnostics(problems),
    }


def certificate_document(certificate: Certificate) -> dict[str, Any]:
    """Return one certificate of a bundle in the published JSON shape."""
    return {
        **identity_document(certificate),
        "root": certificate.root,
        "ca": certificate.ca,
        "file": certificate.file,
        "line": certificate.line,
    }


def identity_document(certificate: Certificate | PresentedCertificate) -> dict[str, Any]:
    """Return what names a certificate and says how long it is valid."""
    return {
        "subject": certificate.subject,
        "issuer": certificate.issuer,
        "sha256": certificate.sha256,
        "not_before": certificate.not_before.isoformat(),
        "not_after": certificate.not_after.isoformat(),
    }


def _file_line(name: str, size: int, failed: bool, bundle: TrustBundle | None, style: Style) -> str:
    certificates = [c for c in bundle.certificates if c.file == name] if bundle else []
    root = " (Root CA)" if any(certificate.root and certificate.ca for certificate in certificates) else ""
    mark = style("✗", "red") if failed else style("✓", "green")
    return f"{mark} {printable(name, NAME_LIMIT)}, {size:,} bytes{root}"


def _certificate_lines(certificates: Sequence[Certificate], now: datetime, style: Style) -> list[str]:
    lines: list[str] = []
    for number, certificate in enumerate(certificates, start=1):
        root = " (Root CA)" if certificate.root and certificate.ca else ""
        lines.append(f"  {number}. {style(certificate.subject + root, 'bold')}")
        if not certificate.root:
            lines.append(f"     issued by {certificate.issuer}")
        lines.append(
            f"     {expiry(certificate.not_after, now)}, {printable(certificate.file, NAME_LIMIT)}:{certificate.line}"
        )
        lines.append(f"     sha256 {certificate.sha256}")
    return lines
