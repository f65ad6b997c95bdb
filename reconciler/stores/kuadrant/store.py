"""All servers of a broker's file are written together: the rename of the file is the transaction.

It does not decide what to change. Servers that are not changed stay as they are found, and so does everything else in
the file. What is not ours yet (the file does not begin with our mark) is left alone until a gateway in it is adopted.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

from reconciler.core.broker_file import (
    MAX_BYTES,
    VIRTUAL_SERVERS,
    BrokerFile,
    broker_file_bytes,
    read_broker_file,
    strange_keys,
    trusts_nothing,
)
from reconciler.core.canonical import canonical_json
from reconciler.core.kuadrant_platform import KUADRANT_FILE
from reconciler.core.model import LiveState, Reason
from reconciler.errors import InputError, StoreBusyError, StoreError
from reconciler.stores.access import Access
from reconciler.stores.kuadrant import files, marks, rows
from reconciler.stores.kuadrant.broker import Broker, broker_of
from reconciler.stores.kuadrant.marks import Mark, Marks, Version
from reconciler.stores.obstacles import failures, obstacles, outcomes
from reconciler.stores.rows import slug

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    from reconciler.core.broker_file import Entry
    from reconciler.core.model import Audit, Change, Gateway, LiveGateway, Outcome, SecretReference, Served

SCHEME: Final = "kuadrant+file:"

_ENDINGS: Final = (".yaml", ".yml")
_READINGS: Final = 20
_SALT_BYTES: Final = 16
_EXAMPLE: Final = "write kuadrant+file:///etc/mcp-gateway/config.yaml, with the whole path of the broker's file"


@dataclass(frozen=True, slots=True)
class _Held:
    """What the two files hold. `data` is None where there is no broker's file."""

    data: bytes | None
    beside: bytes | None
    file: BrokerFile
    marks: Marks
    live: Mapping[str, LiveGateway]

    @property
    def version(self) -> Version | None:
        """What is known of the servers as they are now."""
        if self.data is None:
            return None
        return Version(marks.file_digest(self.data), _marks_of(self.data, self.file, self.marks))


class _ChangeError(StoreError):
    """A change that cannot be written, and why."""

    def __init__(self, change: Change, why: str) -> None:
        super().__init__(why)
        self.change = change


class KuadrantFileStore:
    """Live state in the file of a broker; without `create`, in one that may not exist."""

    features: ClassVar = KUADRANT_FILE.features

    def __init__(self, path: Path, access: Access, broker: Broker | None, *, create: bool) -> None:
        self._path = path
        self._beside = files.beside(path, "reconciler.json")
        self._access = access
        self._broker = broker
        self._create = create
        self._written: dict[str, datetime] = {}

    def read(self) -> LiveState:
        """Return every server of the file, by name, in the order of the names.

        Raises:
            StoreError: the broker could not read it either, or it is no file.
        """
        return LiveState(self._held().live)

    def apply(self, changes: Sequence[Change], audit: Audit) -> list[Outcome]:  # noqa: ARG002 - it has no such columns
        """Make all of the changes, or none. A change that cannot be written has failed, and the others are skipped.

        Raises:
            StoreBusyError: another writer holds the file.
            StoreError: the file is not ours, or cannot be read or written.
        """
        if not changes:
            return []
        if not self._create:
            raise StoreError(f"{self._path} was opened for reading")
        with files.locked(self._path):
            held = self._held()
            reasons = _obstacles(changes, held)
            if any(reasons):
                return outcomes(changes, reasons)
            self._refuse(held, changes)
            try:
                self._write(held, changes)
            except _ChangeError as error:
                return failures(changes, error.change.name, str(error))
        return outcomes(changes, reasons)

    def canonical(self, gateway: Gateway) -> Gateway:
        """Return what the file and the marks beside it give back of a gateway."""
        return rows.canonical(gateway)

    def close(self) -> None:
        """Do nothing: nothing is held open."""

    def served(self, names: Collection[str]) -> tuple[Served, ...]:
        """Return what the broker makes of these servers, once it has looked at them since they were written."""
        if self._broker is None:
            return ()
        return self._broker.wait_for({name: self._written.get(name) for name in names})

    def begin(self) -> None:
        """Make the file if there is none: a broker does not start without one."""
        if not self._path.parent.is_dir():
            raise StoreError(f"there is no directory {self._path.parent}", fix="make it, or correct the store's URL")
        if files.identity(self._path) is None and not self._path.is_symlink():
            with files.locked(self._path):
                if files.identity(self._path) is None:
                    files.replace(self._path, broker_file_bytes(BrokerFile()))

    def _held(self) -> _Held:
        """Return what the files hold, both of one moment: writers come and go meanwhile."""
        for _ in range(_READINGS):
            found = files.read(self._path, MAX_BYTES)
            known = files.read(self._beside, marks.MAX_BYTES)
            if files.identity(self._path) == (found.identity if found is not None else None):
                return self._interpreted(found.data if found else None, known.data if known else None)
        raise StoreBusyError(f"{self._path} is changed all the time", fix="try again when its writers are done")

    def _interpreted(self, data: bytes | None, known: bytes | None) -> _Held:
        kept = marks.read_marks(str(self._beside), known) if known is not None else Marks()
        if data is None:
            return _Held(None, known, BrokerFile(), kept, {})
        file = read_broker_file(str(self._path), data)
        known_of = _marks_of(data, file, kept)
        if not file.owned:  # whoever took our mark out of the file has taken the file
            known_of = {name: replace(mark, stamp=None) for name, mark in known_of.items()}
        live = rows.live_gateways(file.servers, known_of, kept.salt, self._access)
        return _Held(data, known, file, kept, live)

    def _refuse(self, held: _Held, changes: Sequence[Change]) -> None:
        """Raise where the file must not be replaced, whatever by."""
        if self._path.is_symlink():
            raise StoreError(
                f"{self._path} is a link, and the broker would not notice that what it points to was replaced",
                fix="put the file itself there, or give the store and the broker the path it points to",
            )
        if not held.file.owned and held.live and all(change.reason is not Reason.ADOPTED for change in changes):
            raise StoreError(
                f"{self._path} does not say that it is the reconciler's, and holds {len(held.live)} servers",
                fix="`reconciler adopt NAME…` takes over the file, with what is in it; `reconciler dump` describes it",
            )
        if trusts_nothing(held.file):
            raise StoreError(
                f"{self._path} has a `gatewayCACertPEM` without a certificate in it: the broker would not load it",
                fix="put the gateway's CA bundle there, or remove the key",
            )

    def _write(self, held: _Held, changes: Sequence[Change]) -> None:
        """Write the marks first, then the file: until it is replaced, what it was holds, with its own marks."""
        salt = held.marks.salt or os.urandom(_SALT_BYTES).hex()
        kept = replace(held.marks, salt=salt)
        before = held.version
        gone = {change.held_as for change in changes}
        entries = [entry for entry in held.file.servers if rows.name_of(entry) not in gone]
        known = {name: mark for name, mark in (before.marks if before else {}).items() if name not in gone}
        for change in changes:
            if change.after is not None:
                entry, known[change.name] = self._made(change, held, salt)
                entries.append(entry)
        data = self._rendered(replace(held.file, servers=tuple(entries), owned=True))
        beside = marks.marks_bytes(kept.followed_by(Version(marks.file_digest(data), known), before))
        if data != held.data and held.data is not None:
            files.keep(self._path, held.data, files.beside(self._path, "previous"))
        if beside != held.beside:
            files.replace(self._beside, beside)
        if data != held.data:
            self._note(files.replace(self._path, data), changes, held, entries)

    def _made(self, change: Change, held: _Held, salt: str) -> tuple[Entry, Mark]:
        """Return the server that a change writes, and what is kept of it."""
        gateway = rows.canonical(change.after) if change.after is not None else None
        if gateway is None:
            raise _ChangeError(change, "it has nothing to write")
        try:
            entry = rows.entry_of(gateway, self._credential(change, gateway, held))
            mark = rows.mark_of(change, gateway, entry, salt, self._access)
            canonical_json(marks.mark_document(mark)).encode()
        except InputError as error:
            raise _ChangeError(change, error.in_one_line()) from None
        except ValueError:
            raise _ChangeError(change, "it holds text that is not Unicode") from None
        return entry, mark

    def _credential(self, change: Change, gateway: Gateway, held: _Held) -> str:
        """Return the credential to write; one that cannot be had here stays as long as nothing says that it changed."""
        try:
            return rows.credential_of(gateway.auth, self._access)
        except InputError:
            if change.before is None or change.before.gateway.auth != gateway.auth:
                raise
            entry = next(each for each in held.file.servers if rows.name_of(each) == change.held_as)
            return str(entry.get("credential", ""))

    def _rendered(self, file: BrokerFile) -> bytes:
        """Return the bytes to write, once they were read again: a broker that could not load them would say nothing."""
        data = broker_file_bytes(file)
        if len(data) > MAX_BYTES:
            raise StoreError(f"{self._path} would have more than {MAX_BYTES:,} bytes", fix="use several brokers")
        again = read_broker_file(str(self._path), data)
        if again.rest != {VIRTUAL_SERVERS: [], **file.rest} or not _same(again.servers, file.servers):
            raise StoreError(f"what is in {self._path} beside our servers cannot be written", fix="simplify it there")
        return data

    def _note(self, moment: datetime, changes: Sequence[Change], held: _Held, entries: Sequence[Entry]) -> None:
        """Remember when servers were written that the broker has to connect to anew."""
        old = {rows.name_of(entry): entry for entry in held.file.servers}
        new = {rows.name_of(entry): entry for entry in entries}
        self._written.update({each.name: moment for each in changes if new.get(each.name) != old.get(each.name)})


def open_kuadrant_file(url: str, *, create: bool, access: Access | None = None) -> KuadrantFileStore:
    """Return the store in the broker's file that `url` names. With `create`, the file is made if there is none.

    Raises:
        InputError: the URL names no file that a broker reads as YAML, or the broker's URL is none.
        StoreError: the file cannot be made.
    """
    path = _path_of(url)
    access = access or Access({}, _no_secret)
    store = KuadrantFileStore(path, access, broker_of(access), create=create)
    if create:
        store.begin()
    return store


def _path_of(url: str) -> Path:
    path = url.removeprefix(f"{SCHEME}//")
    if path == url or not path.startswith("/") or "\0" in path:
        raise InputError(f"the store's URL begins with `{SCHEME}` and names no file", fix=_EXAMPLE)
    if "?" in path or "#" in path:
        raise InputError("the store's URL has options after its path, and this store has none", fix=_EXAMPLE)
    if not path.endswith(_ENDINGS):
        raise InputError("the store's URL names no .yaml file, and a broker tells the format by the name", fix=_EXAMPLE)
    return Path(path)


def _no_secret(reference: SecretReference) -> str:
    raise InputError(f"the store was opened without access to secrets such as {reference.name}")


def _marks_of(data: bytes, file: BrokerFile, kept: Marks) -> dict[str, Mark]:
    return kept.of(marks.file_digest(data), {rows.name_of(entry): entry for entry in file.servers})


def _obstacles(changes: Sequence[Change], held: _Held) -> list[str]:
    tokens = {name: found.token for name, found in held.live.items()}
    reasons = obstacles(changes, tokens, {slug(name): name for name in held.live})
    strange = {rows.name_of(entry): strange_keys(entry) for entry in held.file.servers}
    return [
        why or _lost_by(change, strange.get(change.held_as, ())) for change, why in zip(changes, reasons, strict=True)
    ]


def _lost_by(change: Change, strange: Sequence[str]) -> str:
    """Return why a server that others wrote must not be written: what protects it may be among what would be lost."""
    if change.reason is not Reason.ADOPTED or not strange:
        return ""
    return f"it has {', '.join(strange)}, which no manifest can say and adopting would remove: remove it there first"


def _same(some: Sequence[Entry], others: Sequence[Entry]) -> bool:
    return sorted(map(canonical_json, some)) == sorted(map(canonical_json, others))
