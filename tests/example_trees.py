"""The examples of every rule: what `tests/examples` holds, and what no repository should hold and is made when needed.

`rules/<code>/bad` is the smallest tree that has the problem, `rules/<code>/good` the same tree mended as the fix says.
`trees/<name>` shows several things at once. What `reconciler validate` finds stands beside each, in its `expected.txt`:
`file:line:column code`, in the order of the report. `guides/<name>` shows what the guides of the gateway platforms warn
of, beside all that is said about it. To add an example, add its directory. The documentation is made from these too.
"""

from __future__ import annotations

import runpy
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from reconciler.composition import validate_tree
from reconciler.core.problems import ProblemsError
from reconciler.reports.problems import as_text, summary
from reconciler.reports.style import counted
from reconciler.reports.validation import Validation
from reconciler.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reconciler.core.problems import Problem

HERE: Final = Path(__file__).parent / "examples"
NOW: Final = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
"""The moment at which the committed certificates are valid, or are not on purpose."""

NOT_SHOWN: Final = {
    "ca-reference-unreadable": "`reconciler plan` says it, which asks the cluster",
    "refused-by-platform": "`reconciler plan` says it, which asks the cluster",
    "bundle-empty": "a file without a certificate is an error of its own, and a list without a file one of the schema",
    **dict.fromkeys(
        ("bundle-not-genuine", "not-expressible", "row-not-canonical", "secret-to-fill-in"),
        "`reconciler dump` says it of a row, not `validate`",
    ),
    "not-formattable": "`reconciler fmt` says it, not `validate`",
    "pem-file-suffix": "the schema of the manifest is asked first; `ca inspect` shows it",
    "too-many-files": "it takes a quarter of a million manifests",
}
"""Rules that no tree of files can break, or none that is worth its size, and why not."""


@dataclass(frozen=True, slots=True)
class Tree:
    """A tree of files and what is found in it. `write` fills an empty directory."""

    name: str
    write: Callable[[Path], None]
    expected: tuple[str, ...]

    @property
    def codes(self) -> frozenset[str]:
        """The rules that it breaks."""
        return frozenset(line.rpartition(" ")[2] for line in self.expected)


@dataclass(frozen=True, slots=True)
class Example:
    """A rule, a tree that breaks it, and the same tree mended."""

    code: str
    bad: Tree
    good: Tree


def examples() -> Iterator[Example]:
    """Yield the example of every rule that has one, by code."""
    for code in sorted({each.name for each in HERE.glob("rules/*")} | MADE.keys()):
        yield MADE[code] if code in MADE else Example(code, *(_kept(HERE / "rules" / code / side) for side in SIDES))


def trees() -> Iterator[Tree]:
    """Yield the trees that show several things at once."""
    yield from map(_kept, sorted(HERE.glob("trees/*")))
    yield from MADE_TREES


def guides() -> Iterator[Tree]:
    """Yield what the guides of the gateway platforms warn of; `expected` is all that `reconciler validate` prints."""
    for directory in sorted(HERE.glob("guides/*")):
        yield _kept(directory, MADE_GUIDES.get(directory.name, {}))


def validated(directory: Path) -> Validation:
    """Return what `reconciler validate` finds in a tree."""
    try:
        return validate_tree(load_settings((directory,)), NOW)
    except ProblemsError as error:
        return Validation(error.problems)


def report(validation: Validation) -> str:
    """Return what `reconciler validate` prints."""
    end = f"{counted(validation.gateways, 'valid gateway')}, {summary(validation.problems)}."
    return "\n".join([*filter(None, [as_text(validation.problems)]), end])


def in_short(problems: Sequence[Problem]) -> tuple[str, ...]:
    """Return the problems as `expected.txt` has them."""
    return tuple(f"{each.location.file}:{each.location.line}:{each.location.column} {each.code}" for each in problems)


SIDES: Final = ("bad", "good")


@dataclass(frozen=True, slots=True)
class Link:
    """A symbolic link."""

    to: str


Files = Mapping[str, str | Link]


def _kept(directory: Path, more: Files | None = None) -> Tree:
    def write(target: Path) -> None:
        shutil.copytree(directory, target, ignore=shutil.ignore_patterns("expected.txt"), dirs_exist_ok=True)
        _write(target, more or {})

    expected = (directory / "expected.txt").read_text().splitlines()
    return Tree(directory.relative_to(HERE).as_posix(), write, tuple(expected))


def _made(name: str, files: Files, *expected: str) -> Tree:
    return Tree(name, lambda target: _write(target, files), expected)


def _write(directory: Path, files: Files) -> None:
    for name, content in files.items():
        path = directory / name
        path.parent.mkdir(exist_ok=True)
        if isinstance(content, Link):
            path.symlink_to(content.to)
        else:
            path.write_text(content)


def _private_key() -> str:
    """Return a private key that everybody knows: the number 1."""
    one = ec.derive_private_key(1, ec.SECP256R1())
    return one.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def _commented(text: str) -> str:
    return "".join(f"# {line}\n" for line in text.splitlines())


ROOT: Final = (HERE / "root.pem").read_text()
ROOT_LINES: Final = ROOT.count("\n")
MANIFEST: Final = """\
apiVersion: reconciler/v1
kind: Gateway
metadata:
  name: payments
spec:
  url: https://payments.example/mcp
  transport: streamable-http
"""
TOO_LARGE: Final = (ROOT + "# a comment of ten megabytes\n" * 400_000)[:10_000_001]
TLS: Final = f"{MANIFEST}  tls:\n    caCertificates:\n      - ca.pem\n"
KUADRANT: Final = """\
apiVersion: reconciler/v1
kind: Config
metadata:
  name: example
spec:
  store: kubernetes:///mcp-system
"""
ROUTED: Final = f"{TLS}  kuadrant:\n    route: payments\n"
MANY: Final = "---\n".join(ROUTED.replace("payments", f"payments-{number}") for number in range(1, 18))
ILLUSTRATED: Final[Callable[[int], str]] = runpy.run_path(str(HERE / "make.py"))["illustrated"]
ELSEWHERE: Final = "---\napiVersion: v1\nkind: ConfigMap\n"

MADE_PAIRS: Final[Mapping[str, tuple[Files, Files, Sequence[str]]]] = {
    "bundle-too-large-for-platform": (
        {"reconciler.yaml": KUADRANT, "payments.yaml": ROUTED, "ca.pem": ILLUSTRATED(50_000)},
        {"reconciler.yaml": KUADRANT, "payments.yaml": ROUTED, "ca.pem": ROOT},
        ["payments.yaml:9:5 bundle-too-large-for-platform"],
    ),
    "bundle-shared-by-many": (
        {"reconciler.yaml": KUADRANT, "payments.yaml": MANY, "ca.pem": ILLUSTRATED(7_000)},
        {"reconciler.yaml": KUADRANT, "payments.yaml": MANY, "ca.pem": ROOT},
        ["reconciler.yaml:5:1 bundle-shared-by-many"],
    ),
    "bundles-too-large-for-platform": (
        {"reconciler.yaml": KUADRANT, "payments.yaml": MANY, "ca.pem": ILLUSTRATED(47_000)},
        {"reconciler.yaml": KUADRANT, "payments.yaml": MANY, "ca.pem": ROOT},
        ["reconciler.yaml:5:1 bundles-too-large-for-platform", "reconciler.yaml:5:1 bundle-shared-by-many"],
    ),
    "file-too-large": (
        {"payments.yaml": MANIFEST + "# a comment of one megabyte\n" * 37_500},
        {"payments.yaml": MANIFEST},
        ["payments.yaml:1:1 file-too-large"],
    ),
    "linked-directory": (
        {"team/payments.yaml": MANIFEST, "linked": Link("team")},
        {"team/payments.yaml": MANIFEST},
        ["linked:1:1 linked-directory"],
    ),
    "pem-file-too-large": (
        {"payments.yaml": TLS, "ca.pem": TOO_LARGE},
        {"payments.yaml": TLS, "ca.pem": ROOT},
        ["ca.pem:1:1 pem-file-too-large"],
    ),
    "pem-private-key": (
        {"payments.yaml": TLS, "ca.pem": ROOT + _private_key()},
        {"payments.yaml": TLS, "ca.pem": ROOT},
        [f"ca.pem:{ROOT_LINES + 1}:1 pem-private-key"],
    ),
    "pem-too-many-blocks": (
        {"payments.yaml": TLS, "ca.pem": ROOT * 501},
        {"payments.yaml": TLS, "ca.pem": ROOT},
        [f"ca.pem:{ROOT_LINES + 2}:1 bundle-duplicate", f"ca.pem:{500 * ROOT_LINES + 2}:1 pem-too-many-blocks"],
    ),
    "private-key": (
        {"payments.yaml": MANIFEST + _commented(_private_key())},
        {"payments.yaml": MANIFEST},
        ["payments.yaml:8:3 private-key"],
    ),
    "too-many-problems": (
        {"payments.yaml": MANIFEST + "".join(f"  unknown{number}: 1\n" for number in range(101))},
        {"payments.yaml": MANIFEST},
        ["payments.yaml:1:1 too-many-problems"]
        + [f"payments.yaml:{number + 8}:3 unknown-field" for number in range(100)],
    ),
    "unreadable-file": (
        {"payments.yaml": Link("renamed.yaml")},
        {"payments.yaml": MANIFEST},
        ["payments.yaml:1:1 unreadable-file"],
    ),
    "yaml-too-many-documents": (
        {"cluster.yaml": ELSEWHERE * 1001},
        {"cluster.yaml": ELSEWHERE * 1000},
        ["cluster.yaml:3002:1 yaml-too-many-documents"],
    ),
}
"""What no repository should hold: the files, the mended ones, and what is found in the former."""

MADE: Final[Mapping[str, Example]] = {
    code: Example(code, _made(f"rules/{code}/bad", bad, *expected), _made(f"rules/{code}/good", good))
    for code, (bad, good, expected) in MADE_PAIRS.items()
}

MADE_TREES: Final = (
    _made(
        "trees/a-link-out-of-the-tree",
        {"../outside.yaml": MANIFEST, "payments.yaml": Link("../outside.yaml")},
        "payments.yaml:1:1 path-leaves-root",
    ),
    _made(
        "trees/a-bundle-behind-a-link-out-of-the-tree",
        {"../outside.pem": ROOT, "payments.yaml": TLS, "ca.pem": Link("../outside.pem")},
        "payments.yaml:10:9 path-leaves-root",
    ),
    _made(
        "trees/a-private-key-in-comments-and-in-a-bundle",
        {"payments.yaml": TLS + _commented(_private_key()), "ca.pem": _private_key()},
        "ca.pem:1:1 pem-private-key",
        "payments.yaml:11:3 private-key",
    ),
)
"""Several things at once that no repository should hold."""

MADE_GUIDES: Final[Mapping[str, Files]] = {
    "private-key": {"ca.pem": ROOT + _private_key()},
    "too-large": {"ca.pem": TOO_LARGE},
}
"""What is added to a guide's example when it is needed."""
