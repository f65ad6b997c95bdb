"""What the broker's file has no room for: a JSON file beside it, from which no secret can be had.

It keeps the marks of two versions of the broker's file, each under the digest of that file's bytes: of the one that is
there and of the one that replaces it. It is written first, so that the rename of the broker's file alone decides which
holds: whoever is killed in between leaves the file as it was, with its own marks. Where the file has neither digest,
because somebody edited it, the newer marks hold, except for servers that are still as the older version wrote them.
"""

from __future__ import annotations

import hmac
import json
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, cast

from reconciler.core.canonical import auth_document, canonical_json
from reconciler.core.model import Auth, Stamp
from reconciler.errors import StoreError
from reconciler.stores.rows import reference_of, text_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.core.broker_file import Entry

MAX_BYTES: Final = 32 * 1024 * 1024

_FORMAT: Final = 1
_ABOUT: Final = "What mcp-gateway-reconciler knows of the servers in the file beside this one. Keep the two together."
_KEPT_VERSIONS: Final = 2
_NO_AUTH: Final = Auth()
_UNREADABLE: Final = (ValueError, KeyError, TypeError, AttributeError, RecursionError)
_FIX: Final = "restore it from a backup, or remove it and `reconciler adopt` every gateway"


@dataclass(frozen=True, slots=True)
class Mark:
    """What is known of one server. `auth` has references; `credential` and `entry` are digests of what was written.

    `seal` is over the references: only those that carry it are followed when nobody wrote them in a manifest now.
    """

    stamp: Stamp | None = None
    signature: str = ""
    record: str = ""
    description: str = ""
    auth: Auth = _NO_AUTH
    credential: str = ""
    entry: str = ""
    seal: str = ""


@dataclass(frozen=True, slots=True)
class Version:
    """The marks of one version of the broker's file, by name. `file` is the digest of its bytes."""

    file: str
    marks: Mapping[str, Mark]


@dataclass(frozen=True, slots=True)
class Marks:
    """All of it. `salt` makes the digests of credentials worthless to whoever has not this file; newest first."""

    salt: str = ""
    versions: tuple[Version, ...] = field(default=())

    def of(self, file: str, entries: Mapping[str, Entry]) -> dict[str, Mark]:
        """Return the marks that hold for these servers of a file of this digest."""
        for version in self.versions:
            if version.file == file:
                return {name: version.marks[name] for name in entries if name in version.marks}
        found = {name: self._of_edited(name, entry_digest(entry, self.salt)) for name, entry in entries.items()}
        return {name: mark for name, mark in found.items() if mark is not None}

    def followed_by(self, new: Version, now: Version | None) -> Marks:
        """Return the marks to write before a file of `new` replaces the one of `now`."""
        versions = (new, now) if now is not None and now.file != new.file else (new,)
        return Marks(self.salt, versions)

    def _of_edited(self, name: str, digest: str) -> Mark | None:
        every = [version.marks[name] for version in self.versions if name in version.marks]
        as_written = next((mark for mark in every if mark.entry == digest), None)
        return as_written or (self.versions[0].marks.get(name) if self.versions else None)


def file_digest(data: bytes) -> str:
    """Return the digest under which the marks of a file are kept."""
    return f"sha256:{sha256(data).hexdigest()}"


def entry_digest(entry: Entry, salt: str) -> str:
    """Return a digest of a server, with a digest of its credential in its place: a short secret could be guessed."""
    shown = {**entry, "credential": credential_digest(entry.get("credential", ""), salt)}
    return sha256(canonical_json(shown).encode()).hexdigest()


def credential_digest(credential: str, salt: str) -> str:
    """Return a digest of a credential that tells nothing without the salt; without one, whether there is one."""
    if not credential or not salt:
        return "present" if credential else ""
    return hmac.digest(salt.encode(), credential.encode("utf-8", "surrogatepass"), "sha256").hex()


def mark_document(mark: Mark) -> dict[str, Any]:
    """Return a mark as plain JSON values, without what is empty."""
    stamp = mark.stamp
    document = {
        "stamp": None
        if stamp is None
        else {
            "owner": stamp.owner,
            "manifest": stamp.manifest,
            "revision": stamp.revision,
            "digest": stamp.digest,
            "protected": stamp.protected,
        },
        "signature": mark.signature,
        "record": mark.record,
        "description": mark.description,
        "auth": auth_document(mark.auth) if mark.auth != _NO_AUTH else None,
        "credential": mark.credential,
        "entry": mark.entry,
        "seal": mark.seal,
    }
    return {name: value for name, value in document.items() if value}


def marks_bytes(marks: Marks) -> bytes:
    """Return the file beside the broker's."""
    versions = [
        {"file": version.file, "servers": {name: mark_document(mark) for name, mark in sorted(version.marks.items())}}
        for version in marks.versions
    ]
    document = {"format": _FORMAT, "about": _ABOUT, "salt": marks.salt, "versions": versions}
    return (json.dumps(document, indent=1) + "\n").encode("ascii")


def read_marks(name: str, data: bytes) -> Marks:
    """Return what the file beside the broker's says.

    Raises:
        StoreError: it is not what we wrote. Without it nobody knows what is ours, so nothing is made of the rest of it.
    """
    try:
        document = json.loads(data)
        if b"\\ud" in data.lower():  # an escaped lone surrogate would be text that nobody can write
            canonical_json(document).encode()
        if document["format"] != _FORMAT:
            raise ValueError("another format")
        versions = [
            Version(text_of(each["file"]), {server: _mark(found) for server, found in each["servers"].items()})
            for each in document["versions"][:_KEPT_VERSIONS]
        ]
        return Marks(text_of(document["salt"]), tuple(versions))
    except _UNREADABLE:
        raise StoreError(f"{name} is broken, or of a newer version of the reconciler", fix=_FIX) from None


def _mark(found: Any) -> Mark:  # noqa: ANN401 - JSON as found
    texts = {
        name: text_of(found.get(name)) for name in ("signature", "record", "description", "credential", "entry", "seal")
    }
    return Mark(stamp=_stamp(found.get("stamp")), auth=_auth(found.get("auth")), **texts)


def _stamp(found: Any) -> Stamp | None:  # noqa: ANN401 - as above
    if found is None:
        return None
    owner, manifest, revision, digest = (text_of(found[name]) for name in ("owner", "manifest", "revision", "digest"))
    return Stamp(owner, manifest, revision, digest, found["protected"] is True)


def _auth(found: Any) -> Auth:  # noqa: ANN401 - as above
    if found is None:
        return _NO_AUTH
    settings = tuple((name, text_of(value)) for name, value in sorted(found["settings"].items()))
    secrets = tuple((purpose, reference_of(reference)) for purpose, reference in sorted(found["secrets"].items()))
    return Auth(cast("Any", text_of(found["type"])), settings, secrets)
