"""A key more or less in `keys/trusted.yaml`: what people wrote around it stays, and what was meant is what is read."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.keyring_text import with_key, without_key
from reconciler.core.signing import Role, TrustedKey, generate, public_text
from reconciler.errors import InputError
from reconciler.settings import keyring_in

KEYS = [TrustedKey(f"key {number}", generate().public) for number in range(4)]
ONE, TWO, THREE, FOUR = (public_text(key.public) for key in KEYS)
WRITTEN = f"""\
# ours
apiVersion: reconciler/v1
kind: Keyring
metadata: {{name: trusted}}   # braces
spec:
  keys:
  # the first of them
  - name: "key 0"   # since 2024
    publicKey: {ONE}
  -   publicKey: {TWO}
      roles:
        - bundle
      name: 'key 1'

  # the platform's
  - {{name: key 2, publicKey: {THREE}, roles: [bundle]}}
# the end
"""


def names(text: str) -> list[str]:
    return [key.name for key in keyring_in(text.encode(), "trusted.yaml")]


def test_a_key_is_added_after_the_others_as_they_are_written() -> None:
    text = with_key(WRITTEN, KEYS[3])
    assert text.replace(f'  - name: "key 3"\n    publicKey: {FOUR}  # {KEYS[3].id}\n', "") == WRITTEN
    assert names(text) == ["key 0", "key 1", "key 2", "key 3"]


@pytest.mark.parametrize(
    ("name", "gone"),
    [
        ("key 0", f'  - name: "key 0"   # since 2024\n    publicKey: {ONE}\n'),
        ("key 1", f"  -   publicKey: {TWO}\n      roles:\n        - bundle\n      name: 'key 1'\n"),
        ("key 2", f"  - {{name: key 2, publicKey: {THREE}, roles: [bundle]}}\n"),
    ],
    ids=["with a comment", "with a list", "in braces"],
)
def test_a_key_is_removed_with_its_lines_and_no_others(name: str, gone: str) -> None:
    assert without_key(WRITTEN, name) == WRITTEN.replace(gone, "")


def test_a_key_in_pem_is_removed_as_a_whole() -> None:
    text = with_key(WRITTEN, KEYS[3]).replace(
        f"publicKey: {FOUR}", "publicKey: |\n      -----BEGIN PUBLIC KEY-----\n      x\n      -----END PUBLIC KEY-----"
    )
    assert without_key(text, "key 3") == WRITTEN


def test_a_list_in_brackets_is_left_to_a_person() -> None:
    heading = "apiVersion: reconciler/v1\nkind: Keyring\nmetadata: {name: x}\n"
    text = f"{heading}spec: {{keys: [{{name: a, publicKey: {ONE}}}]}}\n"
    with pytest.raises(InputError) as added:
        with_key(text, KEYS[3])
    assert '- name: "key 3"' in added.value.fix
    with pytest.raises(InputError, match="brackets"):
        without_key(text, "a")


moments = st.datetimes(min_value=datetime(2000, 1, 1), max_value=datetime(2100, 1, 1)).map(  # noqa: DTZ001 - below
    lambda found: found.replace(microsecond=0, tzinfo=UTC)
)


@given(
    name=st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=63),
    roles=st.sampled_from([frozenset(Role), frozenset({Role.BUNDLE}), frozenset({Role.RECORD})]),
    window=st.tuples(moments, moments).map(sorted).filter(lambda pair: pair[0] < pair[1]),
    end=st.sampled_from(["", "\n", "\n\n# the end"]),
)
def test_whatever_is_added_is_read_again_and_comes_out_again(
    name: str, roles: frozenset[Role], window: list[datetime], end: str
) -> None:
    first = with_key("", KEYS[0]).rstrip("\n") + end
    key = TrustedKey(name, KEYS[1].public, roles, *window)
    text = with_key(first, key)
    assert keyring_in(text.encode(), "trusted.yaml") == (KEYS[0], key)
    if name != KEYS[0].name:
        assert without_key(text, name).rstrip("\n") == first.rstrip("\n")
