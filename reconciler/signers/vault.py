"""A key that never leaves HashiCorp Vault: an Ed25519 key of its transit engine, asked to sign over HTTPS.

The version of the key is chosen once, when the signer is opened, so that a rotation in Vault in the middle of a pass
does not change who signs. Every signature is checked against the public key before it is used. Redirects are not
followed: the token would go along.

Source: https://developer.hashicorp.com/vault/api-docs/secret/transit (read key, sign data); the variables are those of
https://developer.hashicorp.com/vault/docs/commands#environment-variables.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
import ssl
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from reconciler.core.hostile import printable
from reconciler.core.signing import KEY_BYTES, is_signed
from reconciler.errors import SignerError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import httpx

_SECONDS: Final = 10.0
_AT_ONCE: Final = 250
_LARGEST: Final = 1024 * 1024
_LARGEST_TOKEN: Final = 16_384
_PLACE: Final = re.compile(r"(?:([\w.-]+(?:/[\w.-]+)*)/)?([\w.-]+)", re.ASCII)
_SIGNATURE: Final = re.compile(r"vault:v([0-9]{1,9}):([A-Za-z0-9+/]+=*)")
_HINTS: Final[Mapping[int, str]] = {
    400: "check the mount, and that the key's policy allows signing",
    403: "the token needs `read` on MOUNT/keys/KEY and `update` on MOUNT/sign/KEY; it may have expired",
    404: "check the mount and the name of the key: vault list MOUNT/keys",
    429: "Vault is a standby, or asks to be left alone for a while: name its active node, or try again",
    503: "Vault is sealed, or under maintenance: unseal it",
}


class VaultKey:
    """A signer over one version of a transit key."""

    def __init__(self, client: httpx.Client, mount: str, name: str) -> None:
        self._client = client
        self._path = f"/v1/{mount}/sign/{name}"
        found = _call(client, "GET", f"/v1/{mount}/keys/{name}")
        self._version, self._public = _latest(found, f"{mount}/{name}")

    def __repr__(self) -> str:
        return f"VaultKey({self._path!r}, version {self._version})"

    @property
    def public_key(self) -> bytes:
        """The raw 32-byte public key."""
        return self._public

    def sign(self, payload: bytes) -> bytes:
        """Return the raw 64-byte Ed25519 signature of `payload`.

        Raises:
            SignerError: Vault cannot be reached, does not let us, or answers with something else.
        """
        return self._signature(payload, _call(self._client, "POST", self._path, self._words(payload)))

    def sign_all(self, payloads: Sequence[bytes]) -> list[bytes]:
        """Return the signatures of the payloads, in order; Vault is asked for many at once.

        Raises:
            SignerError: as above.
        """
        signatures: list[bytes] = []
        for start in range(0, len(payloads), _AT_ONCE):
            some = payloads[start : start + _AT_ONCE]
            body = {"batch_input": [self._words(payload) for payload in some]}
            results = _call(self._client, "POST", self._path, body).get("batch_results")
            answers = results if isinstance(results, list) else []
            for payload, answer in zip_longest(some, answers[: len(some)], fillvalue=None):
                signatures.append(self._signature(payload or b"", answer))
        return signatures

    def _words(self, payload: bytes) -> dict[str, Any]:
        return {"input": base64.b64encode(payload).decode("ascii"), "key_version": self._version}

    def _signature(self, payload: bytes, answer: object) -> bytes:
        said = answer.get("signature") if isinstance(answer, dict) else None
        found = _SIGNATURE.fullmatch(str(said))
        signature = base64.b64decode(found[2]) if found is not None and int(found[1]) == self._version else b""
        if not is_signed(payload, signature.hex(), self._public):
            raise SignerError(
                f"what Vault signed at {self._path} is not a signature by version {self._version} of the key",
                fix="look at the key with `vault read`, and at what stands between Vault and this machine",
            )
        return signature


def open_vault(place: str, environ: Mapping[str, str]) -> VaultKey:
    """Return a signer over the key `MOUNT/KEY`, or `KEY` of the mount `transit`.

    Raises:
        SignerError: Vault or the token is not named, cannot be used, or the key is not an Ed25519 one.
    """
    found = _PLACE.fullmatch(place)
    if found is None or ".." in place.split("/"):
        raise SignerError("the reference to the key in Vault is not one", fix="write vault:MOUNT/KEY")
    return VaultKey(_client(environ), found[1] or "transit", found[2])


def _client(environ: Mapping[str, str]) -> httpx.Client:
    import httpx

    address = _address(environ)
    headers = {"X-Vault-Token": _token(environ), "X-Vault-Request": "true"}
    if environ.get("VAULT_NAMESPACE"):
        headers["X-Vault-Namespace"] = environ["VAULT_NAMESPACE"]
    verify = _trust(environ) if address.startswith("https:") else True
    try:
        return httpx.Client(base_url=address, headers=headers, verify=verify, timeout=_SECONDS, trust_env=False)
    except (httpx.InvalidURL, ValueError, UnicodeError):
        raise SignerError("the address or the token of Vault cannot be sent", fix="check both") from None


def _address(environ: Mapping[str, str]) -> str:
    from urllib.parse import urlsplit

    address = environ.get("VAULT_ADDR", "").rstrip("/")
    try:
        parts = urlsplit(address)
        host, named = parts.hostname or "", parts.username is None and parts.port != 0
    except ValueError:
        host, named, parts = "", False, urlsplit("")
    if parts.scheme not in ("http", "https") or not host or not named:
        raise SignerError("VAULT_ADDR does not say where Vault is", fix="set it as in https://vault.internal:8200")
    if parts.scheme == "http" and not _is_here(host):
        raise SignerError(
            "VAULT_ADDR leads over plain HTTP, where everybody on the way could take the token",
            fix="give an https address, and its CA in VAULT_CACERT",
        )
    return address


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _token(environ: Mapping[str, str]) -> str:
    token = environ.get("VAULT_TOKEN", "")
    if not token and (name := environ.get("VAULT_TOKEN_FILE")):
        try:
            with Path(name).open("rb") as file:
                token = file.read(_LARGEST_TOKEN).decode("ascii").strip()
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not text"
            raise SignerError(f"the file of VAULT_TOKEN_FILE cannot be read: {reason}", fix="check the path") from None
    if not token:
        raise SignerError("there is no token for Vault", fix="set VAULT_TOKEN, or VAULT_TOKEN_FILE to a file with it")
    return token


def _trust(environ: Mapping[str, str]) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=environ.get("VAULT_CACERT") or None)
    except OSError as error:
        reason = error.strerror or "it holds no certificate"
        raise SignerError(f"the CA of VAULT_CACERT cannot be used: {reason}", fix="give a PEM file") from None


def _call(client: httpx.Client, method: str, path: str, body: object = None) -> dict[str, Any]:
    """Return the `data` of Vault's answer."""
    import httpx

    try:
        with client.stream(method, path, json=body) as answer:
            content = b"".join(_bounded(answer))
            status = answer.status_code
    except httpx.HTTPError as error:
        raise SignerError(
            f"Vault cannot be reached at {printable(str(client.base_url))}: {printable(str(error))}",
            fix="check VAULT_ADDR, VAULT_CACERT and the network",
        ) from None
    if status != 200:  # noqa: PLR2004 - a status of HTTP
        said = "; ".join(_errors(content)) or "nothing more"
        fix = _HINTS.get(status, "look into Vault's log")
        raise SignerError(f"Vault answers {status} to {path}, and says: {said}", fix=fix)
    data = _json(content).get("data")
    if not isinstance(data, dict):
        raise SignerError(f"Vault's answer to {path} has no data", fix="is it Vault that answers there?")
    return data


def _bounded(answer: httpx.Response) -> Any:  # noqa: ANN401 - an iterator of bytes
    size = 0
    for part in answer.iter_bytes():
        size += len(part)
        if size > _LARGEST:
            raise SignerError("Vault's answer is larger than any signature", fix="is it Vault that answers there?")
        yield part


def _json(content: bytes) -> dict[str, Any]:
    import json

    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        value = None
    return value if isinstance(value, dict) else {}


def _errors(content: bytes) -> list[str]:
    errors = _json(content).get("errors")
    return [printable(str(each), 200) for each in errors[:5]] if isinstance(errors, list) else []


def _latest(key: Mapping[str, Any], place: str) -> tuple[int, bytes]:
    """Return the latest version of a key, and its public half."""
    if key.get("type") != "ed25519":
        raise SignerError(
            f"the key {place} in Vault is of type {printable(str(key.get('type')), 40)}, not ed25519",
            fix=f"vault write -f {place.rpartition('/')[0]}/keys/NAME type=ed25519",
        )
    try:
        version = int(key["latest_version"])
        public = base64.b64decode(key["keys"][str(version)]["public_key"], validate=True)
    except (KeyError, TypeError, ValueError, binascii.Error):
        public = b""
    if len(public) != KEY_BYTES:
        raise SignerError(
            f"Vault does not say what the public half of {place} is",
            fix="derived keys have none: make the key with `derived=false`, which is the default",
        )
    return version, public
