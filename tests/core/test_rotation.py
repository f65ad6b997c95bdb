"""A change of a bundle is named as the step of a rotation that it is, whatever else the bundles hold."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.pem import read_pem
from reconciler.core.rotation import exchange, rotation
from reconciler.core.trust import build_bundle
from reconciler.demo.pki import Authority, Lifetime, pem, self_signed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reconciler.core.model import Certificate

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
LIFETIME = Lifetime.around(NOW)


def renewed(authority: Authority) -> Authority:
    """Return the same CA with the same key, valid for longer."""
    old = authority.certificate
    builder = (
        x509.CertificateBuilder()
        .subject_name(old.subject)
        .issuer_name(old.issuer)
        .public_key(old.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(old.not_valid_before_utc)
        .not_valid_after(old.not_valid_after_utc + timedelta(days=365))
    )
    for extension in old.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    return replace(authority, certificate=builder.sign(authority.key, hashes.SHA256()))


OLD, NEW, OTHER = (Authority.root(f"{name} Root", LIFETIME) for name in ("Old", "New", "Other"))
SAME_NAME = Authority.root("Old Root", LIFETIME)
ISSUING = OLD.issue_authority("Issuing")
ISSUING_AGAIN = OLD.issue_authority("Issuing")
PINNED, PINNED_NEW = (self_signed(["mcp.example"], LIFETIME, ca=False).leaf_pem for _ in range(2))


def bundle(*authorities: Authority | str) -> tuple[Certificate, ...]:
    texts = [each if isinstance(each, str) else pem(each.certificate) for each in authorities]
    return read_pem("bundle.pem", "\n".join(texts).encode()).certificates


@pytest.mark.parametrize(
    ("before", "after", "step"),
    [
        ([OLD], [OLD, NEW], "adds"),
        ([OLD, ISSUING], [OLD, ISSUING, NEW], "adds"),
        ([OLD], [OLD, SAME_NAME], "adds"),
        ([OLD, ISSUING], [renewed(OLD), NEW], "adds"),
        ([OLD, NEW], [NEW], "removes"),
        ([OLD, ISSUING, NEW], [NEW], "removes"),
        ([OLD, SAME_NAME], [SAME_NAME], "removes"),
        ([OLD, NEW], [NEW, OTHER], "moves"),
        ([OLD], [NEW], "replaces"),
        ([OLD], [SAME_NAME], "replaces"),
        ([OLD, ISSUING], [NEW], "replaces"),
        ([PINNED], [PINNED_NEW], "replaces"),
        ([OLD], [renewed(OLD)], "renews"),
        ([OLD], [OLD, renewed(OLD)], "renews"),
        ([OLD, renewed(OLD)], [renewed(OLD)], "renews"),
        ([OLD, ISSUING], [renewed(OLD), ISSUING_AGAIN], "renews"),
        ([OLD], [OLD, ISSUING], "reissues"),
        ([OLD, ISSUING], [OLD], "reissues"),
        ([OLD, ISSUING], [OLD, ISSUING_AGAIN], "reissues"),
        ([ISSUING], [ISSUING, ISSUING_AGAIN], "adds"),
        ([OLD], [], "drops"),
    ],
)
def test_each_step_has_its_name(before: Sequence[Authority], after: Sequence[Authority], step: str) -> None:
    found = rotation(bundle(*before), bundle(*after))
    assert found is not None
    assert found.step == step


@pytest.mark.parametrize(("before", "after"), [([], [NEW]), ([], []), ([OLD, NEW], [NEW, OLD])])
def test_a_first_bundle_and_another_order_are_no_steps(before: Sequence[Authority], after: Sequence[Authority]) -> None:
    assert rotation(bundle(*before), bundle(*after)) is None


def test_the_first_step_says_that_the_second_happens_outside_of_git() -> None:
    found = rotation(bundle(OLD), bundle(OLD, NEW))
    assert found is not None
    assert found.says.startswith("step 1 of 3, add the new CA: deploy it everywhere, then reissue")
    assert "step 2, outside of git" in found.says


def test_a_switch_in_one_go_says_who_fails() -> None:
    found = rotation(bundle(OLD), bundle(NEW))
    assert found is not None
    assert "nothing of the old bundle is kept: upstreams still using the old CA fail at once" in found.says


def test_a_certificate_whose_text_is_not_at_hand_stands_for_itself() -> None:
    (old,), (new,) = (bundle(OLD)), bundle(renewed(OLD))
    bare = [replace(each, pem="") for each in (old, new)]
    found = rotation(bare[:1], bare[1:])
    assert found is not None
    assert found.step == "replaces"


everyone = bundle(OLD, NEW, OTHER, SAME_NAME, ISSUING, ISSUING_AGAIN, renewed(OLD), PINNED)
bundles = st.lists(st.sampled_from(everyone), unique=True)


@given(bundles, bundles)
def test_what_comes_and_goes_and_stays_makes_up_both_bundles(
    before: list[Certificate], after: list[Certificate]
) -> None:
    found = exchange(before, after)
    assert {*found.removed, *found.kept} == set(before)
    assert {*found.added, *found.kept} == set(after)
    assert not {*found.added} & {*found.removed}


@given(bundles, bundles)
def test_the_order_of_a_bundle_decides_nothing(before: list[Certificate], after: list[Certificate]) -> None:
    assert rotation(before, after) == rotation(before[::-1], after[::-1])


@given(bundles, bundles)
def test_there_and_back_again_are_opposites(before: list[Certificate], after: list[Certificate]) -> None:
    opposites = {"adds": "removes", "removes": "adds"}
    there, back = rotation(before, after), rotation(after, before)
    if there is not None and back is not None:
        assert back.step == opposites.get(there.step, there.step)


@given(bundles, bundles)
def test_a_harmless_step_takes_no_root_away(before: list[Certificate], after: list[Certificate]) -> None:
    found = rotation(before, after)
    if found is not None and found.step in ("adds", "renews", "reissues") and any(each.root for each in before):
        subjects = {each.subject for each in after}
        assert {each.subject for each in before if each.root} <= subjects


def test_a_whole_rotation_is_three_steps_of_which_git_sees_two() -> None:
    states = [bundle(OLD), bundle(OLD, NEW), bundle(NEW)]
    steps = [rotation(one, other) for one, other in pairwise(states)]
    assert [each.step for each in steps if each] == ["adds", "removes"]
    for state in states:
        built, problems = build_bundle([read_pem("b.pem", "\n".join(each.pem for each in state).encode())], NOW)
        assert built is not None, problems
