"""What is signed, with what, and whether a stored signature is genuine.

A bundle is signed the way ContextForge verifies it: Ed25519 (RFC 8032) over the UTF-8 bytes of the canonical text, in
lower-case hex. Private keys pass through here as bytes on their way from and to a signer; none is kept, shown or put
into an error. Where keys are found is for `reconciler.signers`; what a bad signature leads to is for planning.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from reconciler.core.hostile import printable
from reconciler.core.ports import BatchSigner
from reconciler.errors import InputError, ReconcilerError, SignerError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from reconciler.core.ports import Signer

KEY_BYTES: Final = 32
SIGNATURE_CHARACTERS: Final = 128

# What stands before the 32 bytes of an Ed25519 key in a SubjectPublicKeyInfo (RFC 8410 section 4).
_SPKI_PREFIX: Final = bytes.fromhex("302a300506032b6570032100")
# Points whose order divides eight, without their sign bit. A placeholder of zeros is one of them: it takes no private
# key to make signatures for it. Source: Chalkias, Garillot, Nikolaenko, "Taming the many EdDSAs" (2020), table 1.
_LOW_ORDER: Final = frozenset(
    bytes.fromhex(point)
    for point in (
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    )
)
_SIGNATURE = re.compile(r"[0-9a-f]{128}")
_PRIVATE_MARKER = re.compile(r"-----BEGIN ([A-Z0-9 ]{0,40}PRIVATE KEY)-----")
_PUBLIC_BLOCK = re.compile(r"-----BEGIN PUBLIC KEY-----([A-Za-z0-9+/=\s]{0,200})-----END PUBLIC KEY-----")
_MAX_KEY_BYTES = 65_536
_VERDICTS_KEPT = 100_000
_GENERATE = "make one with `reconciler keys generate signing.key`"


class BadSignatureError(ReconcilerError):
    """The signature was not made over this text with this key."""


class SignatureStatus(StrEnum):
    """What is known of a stored signature. Unknown: there is no key to check it with."""

    VALID = "valid"
    INVALID = "invalid"
    MISSING = "missing"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The state of one signature, and the id and name of the trusted key that made it (empty: none did)."""

    status: SignatureStatus
    key_id: str = ""
    key_name: str = ""


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A new key: `private` is an unencrypted PKCS#8 PEM, `public` the raw 32 bytes."""

    private: bytes = field(repr=False)
    public: bytes


class Role(StrEnum):
    """What a trusted key may vouch for. A platform that signs bundles by itself needs no say about whole rows."""

    BUNDLE = "bundle"
    RECORD = "record"


@dataclass(frozen=True, slots=True)
class TrustedKey:
    """A public key, raw, by its name, and what it is trusted with from when until when.

    A signature has no date, so the window is about today: outside of it the key vouches for nothing any more.
    """

    name: str
    public: bytes
    roles: frozenset[Role] = frozenset(Role)
    not_before: datetime | None = None
    not_after: datetime | None = None

    @property
    def id(self) -> str:
        """The key's id."""
        return key_id(self.public)

    def is_in_force(self, now: datetime) -> bool:
        """Return whether `now` lies in the key's window, whose end is not part of it."""
        return not (self.not_before and now < self.not_before) and not (self.not_after and now >= self.not_after)


@dataclass(frozen=True, slots=True)
class Keyring:
    """The public keys that are trusted, and the verdicts on bundles reached with them so far."""

    keys: tuple[TrustedKey, ...] = ()
    _verdicts: dict[tuple[bytes, str], Verdict] = field(default_factory=dict, init=False, repr=False, compare=False)

    @classmethod
    def of(cls, texts: Mapping[str, str]) -> Keyring:
        """Return the keyring of these public keys, each a PEM or the base64 of the raw 32 bytes.

        Raises:
            InputError: one of them is neither; its name is in the message.
        """
        return cls.of_raw({name: public_key(name, text) for name, text in texts.items()})

    @classmethod
    def of_raw(cls, keys: Mapping[str, bytes]) -> Keyring:
        """Return the keyring of these raw 32-byte public keys, trusted with everything, always.

        Raises:
            InputError: one has another length, or is of low order.
        """
        return cls.of_keys(TrustedKey(name, key) for name, key in keys.items())

    @classmethod
    def of_keys(cls, keys: Iterable[TrustedKey]) -> Keyring:
        """Return the keyring of these keys.

        Raises:
            InputError: one has another length than 32 bytes, or is of low order.
        """
        every = tuple(sorted(keys, key=lambda key: key.name))
        for key in every:
            if len(key.public) != KEY_BYTES:
                raise _bad_entry(key.name, f"has {len(key.public)} bytes instead of {KEY_BYTES}")
            if key.public[:-1] + bytes([key.public[-1] & 0x7F]) in _LOW_ORDER:
                raise _bad_entry(key.name, "is of low order: anyone can make signatures for it")
        return cls(every)

    def at(self, now: datetime) -> Keyring:
        """Return the keyring of the keys that are in force."""
        return Keyring(tuple(key for key in self.keys if key.is_in_force(now)))

    def changes_after(self, now: datetime) -> datetime | None:
        """Return the next moment at which another set of these keys is in force; None where none comes."""
        edges = (edge for key in self.keys for edge in (key.not_before, key.not_after))
        return min((edge for edge in edges if edge is not None and edge > now), default=None)

    @property
    def key_ids(self) -> frozenset[str]:
        """The ids of the trusted keys."""
        return frozenset(key.id for key in self.keys)

    def signed_by(self, payload: bytes, signature: str, role: Role) -> TrustedKey | None:
        """Return the key of this role that made `signature`, 128 lower-case hex characters, over `payload`."""
        for key in self.keys:
            if role in key.roles and is_signed(payload, signature, key.public):
                return key
        return None

    def verdict(self, text: str, signature: str) -> Verdict:
        """Return the state of a bundle's stored signature; each distinct pair is checked once.

        Nothing signed with nothing is valid. A signature without a text is invalid, and so is one by an unknown key.
        """
        pair = (sha256(text.encode(errors="surrogatepass")).digest(), signature)
        known = self._verdicts.get(pair)
        if known is None:
            if len(self._verdicts) >= _VERDICTS_KEPT:
                self._verdicts.clear()
            known = self._verdicts[pair] = self._judge(text, signature)
        return known

    def _judge(self, text: str, signature: str) -> Verdict:
        if not text:
            return Verdict(SignatureStatus.INVALID if signature else SignatureStatus.VALID)
        if not self.keys:
            return Verdict(SignatureStatus.UNKNOWN)
        if not signature:
            return Verdict(SignatureStatus.MISSING)
        key = self.signed_by(text.encode(errors="surrogatepass"), signature, Role.BUNDLE)
        return Verdict(SignatureStatus.VALID, key.id, key.name) if key is not None else Verdict(SignatureStatus.INVALID)


def sign_bundle(signer: Signer, text: str) -> str:
    """Return the signature over exactly the UTF-8 bytes of `text`: 128 lower-case hex characters.

    Raises:
        SignerError: the key cannot be used.
    """
    return signer.sign(text.encode()).hex()


def sign_all(signer: Signer, payloads: Sequence[bytes]) -> list[bytes]:
    """Return the signatures of the payloads, in order: at once, where the signer can do that.

    Raises:
        SignerError: the key cannot be used.
    """
    if isinstance(signer, BatchSigner):
        return signer.sign_all(payloads)
    return [signer.sign(payload) for payload in payloads]


def verify_bundle(text: str, signature: str, public_key: bytes) -> None:
    """Return if `signature` is the one `sign_bundle` makes of `text` with the private half of `public_key`.

    Raises:
        BadSignatureError: it is not, or is not 128 lower-case hex characters, or the key is not one.
    """
    if not _SIGNATURE.fullmatch(signature):
        raise BadSignatureError(f"a signature is {SIGNATURE_CHARACTERS} lower-case hex characters, and this is not one")
    if not is_signed(text.encode(errors="surrogatepass"), signature, public_key):
        raise BadSignatureError(f"the signature was not made over this bundle with key {key_id(public_key)}")


def is_signed(payload: bytes, signature: str, public_key: bytes) -> bool:
    """Return whether `signature`, 128 lower-case hex characters, is one over `payload` by this raw public key."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    if not _SIGNATURE.fullmatch(signature):
        return False
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(bytes.fromhex(signature), payload)
    except (InvalidSignature, ValueError):
        return False
    return True


def key_id(public_key: bytes) -> str:
    """Return the name of a raw 32-byte public key: the first 16 hex digits of SHA-256 over its SPKI DER."""
    return sha256(_SPKI_PREFIX + public_key).hexdigest()[:16]


def public_text(public_key: bytes) -> str:
    """Return a raw public key as base64, the form of `keys/trusted.yaml`."""
    return base64.b64encode(public_key).decode("ascii")


def generate() -> KeyPair:
    """Return a new key pair from the system's randomness."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return KeyPair(private, key.public_key().public_bytes_raw())


def load_private_key(pem: bytes) -> Ed25519PrivateKey:
    """Return the key of an unencrypted PKCS#8 PEM, the one form that ContextForge takes as well.

    Raises:
        SignerError: it is anything else; the message says what, and shows nothing of it.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    found = _not_pkcs8(pem)
    if found is not None:
        raise SignerError(f"the signing key is {found[0]}", fix=found[1])
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise SignerError("the signing key is a damaged PEM block", fix=f"copy the key again, or {_GENERATE}") from None
    if not isinstance(key, Ed25519PrivateKey):
        kind = type(key).__name__.removesuffix("PrivateKey").removeprefix("_")
        raise SignerError(f"the signing key is of kind {kind}, not Ed25519", fix=_GENERATE)
    return key


_OTHER_KEYS: Final = {
    "ENCRYPTED PRIVATE KEY": (
        "encrypted, and there is nobody to ask for its password",
        "decrypt it into a file of mode 0600: openssl pkcs8 -in KEY -out signing.key",
    ),
    "RSA PRIVATE KEY": ("an RSA key, not Ed25519", _GENERATE),
    "EC PRIVATE KEY": ("an EC key, not Ed25519", _GENERATE),
    "DSA PRIVATE KEY": ("a DSA key, not Ed25519", _GENERATE),
    "OPENSSH PRIVATE KEY": (
        "in OpenSSH's own format, not PKCS#8 PEM",
        f"SSH keys are for SSH; {_GENERATE}",
    ),
}


def _not_pkcs8(pem: bytes) -> tuple[str, str] | None:
    """Return what is given instead of a PKCS#8 PEM and the fix; None if it looks like one."""
    text = pem[:_MAX_KEY_BYTES].decode("latin-1")
    if len(pem) > _MAX_KEY_BYTES:
        return "far too large for a key", _GENERATE
    if not text.strip():
        return "empty", _GENERATE
    if "\\n" in text:
        return (
            "one line with a literal \\n where line ends belong",
            'give the key with real line ends: in a shell, KEY="$(cat signing.key)"',
        )
    marker = _PRIVATE_MARKER.search(text)
    if marker is None:
        return _without_marker(text)
    if text.count("-----BEGIN ") > 1:
        return "one of several PEM blocks", "keep the private key alone in its file"
    return None if marker[1] == "PRIVATE KEY" else _OTHER_KEYS.get(marker[1], ("of an unknown kind", _GENERATE))


def _without_marker(text: str) -> tuple[str, str]:
    if "-----BEGIN" in text:
        return "a PEM block, but not a private key", f"give the private key; {_GENERATE}"
    if _decoded(text) is not None:
        return (
            "a bare base64 text (a seed?), not PKCS#8 PEM",
            f"give the whole PEM, with its BEGIN line, or {_GENERATE}",
        )
    return "not PEM text", f"give an unencrypted PKCS#8 PEM; {_GENERATE}"


def public_key(name: str, text: str) -> bytes:
    """Return the raw key of a PEM or base64 text, which an error calls by `name`.

    Raises:
        InputError: it is neither, or a private key.
    """
    if "PRIVATE KEY" in text:
        raise _bad_entry(
            name, "is a private key", fix="put the public key there, and replace this one: it is disclosed"
        )
    block = _PUBLIC_BLOCK.fullmatch(text.strip())
    decoded = _decoded(block[1] if block is not None else text)
    if decoded is None:
        raise _bad_entry(name, "is neither a PUBLIC KEY PEM nor base64")
    if block is None and len(decoded) == KEY_BYTES:
        return decoded
    if len(decoded) == len(_SPKI_PREFIX) + KEY_BYTES and decoded.startswith(_SPKI_PREFIX):
        return decoded.removeprefix(_SPKI_PREFIX)
    raise _bad_entry(
        name, "is not an Ed25519 key" if block is not None else f"has {len(decoded)} bytes instead of {KEY_BYTES}"
    )


def _decoded(text: str) -> bytes | None:
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        return None


def _bad_entry(name: str, what: str, *, fix: str = "") -> InputError:
    return InputError(
        f"the trusted key {printable(name)} {what}",
        fix=fix or "give the Ed25519 public key as printed by `reconciler keys generate`",
    )
