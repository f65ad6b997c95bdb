"""The regression guard of speed counts work, which no machine makes slower: files, statements, signatures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest
from raw_servers import VALID
from work import counting

from reconciler.demo.pki import Authority

if TYPE_CHECKING:
    from collections import Counter

    from terminal import Terminal

AUTHORITIES: Final = [Authority.root(f"CA {number}", VALID).pem for number in range(4)]
SMALL, LARGE = 20, 60
STORE: Final = ("--store", "sqlite:///x.db")


def fleet(terminal: Terminal, size: int) -> None:
    """Write gateways that share four CA files."""
    for number, authority in enumerate(AUTHORITIES):
        terminal.write(f"gateways/ca-{number}.pem", authority)
    for number in range(size):
        terminal.gateway(f"g{number:03}", tls={"caCertificates": [f"ca-{number % len(AUTHORITIES)}.pem"]})


def work(terminal: Terminal, *words: str) -> Counter[str]:
    with counting(terminal.directory / "gateways") as counter:
        terminal(*words)
    return counter


def apply(terminal: Terminal) -> Counter[str]:
    return work(terminal, "apply", "gateways", *STORE, "--no-verify")


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_each_file_is_opened_once_and_each_certificate_parsed_once(terminal: Terminal, size: int) -> None:
    fleet(terminal, size)
    validated = work(terminal, "validate", "gateways")
    assert validated["files opened"] == size + len(AUTHORITIES)
    assert validated["certificates parsed"] == len(AUTHORITIES)


def test_a_pass_without_changes_asks_the_store_the_same_few_questions_whatever_its_size(terminal: Terminal) -> None:
    counted = []
    for size in (SMALL, LARGE):
        fleet(terminal, size)
        apply(terminal)
        planned = work(terminal, "plan", "gateways", *STORE)
        assert planned["files opened"] == size + len(AUTHORITIES)
        assert planned["certificates parsed"] == 0
        counted.append((planned["statements executed"], planned["signatures made"], planned["signatures checked"]))
    assert counted[0] == counted[1]
    assert counted[0][0] < 20


def test_one_changed_gateway_costs_the_same_in_a_store_of_any_size(terminal: Terminal) -> None:
    counted = []
    for size in (SMALL, LARGE):
        fleet(terminal, size)
        apply(terminal)
        terminal.gateway("g001", description=f"new {size}", tls={"caCertificates": ["ca-1.pem"]})
        applied = apply(terminal)
        counted.append((applied["statements executed"], applied["signatures made"], applied["certificates parsed"]))
    assert counted[0] == counted[1]


def test_a_first_apply_signs_each_row_and_each_bundle_once(terminal: Terminal) -> None:
    fleet(terminal, LARGE)
    applied = apply(terminal)
    assert applied["certificates parsed"] == len(AUTHORITIES)
    assert applied["signatures made"] <= LARGE + len(AUTHORITIES) + 2
