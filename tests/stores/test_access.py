"""What stands for a secret: a digest that says nothing to whoever has not the signing key."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

from reconciler.stores.access import Access, sealed_by

if TYPE_CHECKING:
    from reconciler.core.model import SecretReference


class Counting:
    """A signer that counts what it signs. Like Ed25519, it signs the same text alike."""

    public_key = b"\0" * 32

    def __init__(self, key: bytes) -> None:
        self._key = key
        self.signed = 0

    def sign(self, payload: bytes) -> bytes:
        self.signed += 1
        return sha256(self._key + payload).digest() * 2


def test_the_same_text_under_the_same_key_has_the_same_seal_and_no_other_has() -> None:
    one, again, other = (sealed_by(Counting(key)) for key in (b"one", b"one", b"other"))
    assert one("hunter2") == again("hunter2")
    assert len({one("hunter2"), one("hunter3"), one(""), other("hunter2"), sha256(b"hunter2").hexdigest()}) == 5


def test_the_signer_is_asked_once_and_not_before_there_is_something_to_seal() -> None:
    signer = Counting(b"key")
    seal = sealed_by(signer)
    assert signer.signed == 0
    seal("one")
    seal("two")
    assert signer.signed == 1


def test_any_text_can_be_sealed() -> None:
    assert len(sealed_by(Counting(b"key"))("\ud800")) == 64


def test_nothing_of_it_is_in_a_representation() -> None:
    def secret(_reference: SecretReference) -> str:
        return "hunter2"

    assert repr(Access({"TOKEN": "hunter2"}, secret, sealed_by(Counting(b"key")))) == "Access()"
