"""What this machine remembers of a store: which rows' records were verified before, and how far its ledger had come.

It lies in the user's cache, out of reach of whoever can write the store. An unchanged row is not verified again, and a
ledger that was cut off, or put back with the rest of the store, is found. What is kept is a digest of each row with its
record, the ledger's head, and a keyed digest over it all, whose key only the signing key leads to. Without a signing
key nothing is remembered, and everything is verified. Losing the file costs time once.
"""

from __future__ import annotations

import hmac
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from reconciler.cache import cache_directory, read_own, replace_own
from reconciler.core.records import Head, Memory
from reconciler.errors import StoreError
from reconciler.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from reconciler.core.ports import Signer
    from reconciler.core.signing import Keyring
    from reconciler.ledger import Ledger

_PURPOSE: Final = b"mcp-gateway-reconciler: the key that vouches for what was verified before"
_DIGEST: Final = 32


@dataclass(frozen=True, slots=True)
class VerifiedRows:
    """The memory of one store, in one file. `key` says for whom it holds: the signing key, the keyring, the version."""

    path: Path
    key: bytes

    def load(self) -> Memory:
        """Return what is remembered; nothing where the file is missing, not ours, or not as it was written."""
        with suppress(OSError, ValueError):
            data = read_own(self.path) or b""
            if hmac.compare_digest(data[:_DIGEST], self._seal(data[_DIGEST:])):
                head, _, rows = data[_DIGEST:].partition(b"\n")
                return Memory(
                    {rows[at : at + _DIGEST] for at in range(0, len(rows), _DIGEST)}, Head.of(head.decode("ascii"))
                )
        return Memory()

    def save(self, memory: Memory) -> None:
        """Remember it. Not being able to is no failure."""
        body = b"%s\n%s" % (str(memory.head).encode("ascii"), b"".join(sorted(memory.rows)))
        with suppress(OSError):
            replace_own(self.path, (self._seal(body), body))
            memory.changed = False

    def _seal(self, body: bytes) -> bytes:
        return hmac.digest(self.key, body, "sha256")


class Precedents:
    """What the ledger of a store knows, looked up when it is asked for: most passes never ask.

    Where the ledger does not go on from where it was, nothing in it proves anything: the rows that this machine does
    not know count as put back with it.
    """

    def __init__(
        self, opening: Callable[[], AbstractContextManager[Ledger | None]], memory: Memory, undo: ExitStack
    ) -> None:
        self._opening = opening
        self._memory = memory
        self._undo = undo
        self._opened: Ledger | None = None
        self._is_open = False

    def is_superseded(self, name: str, digest: str) -> bool:
        """Return whether the row of this name was written again since its payload had this digest."""
        ledger = self._ledger()
        if ledger is None:
            return False
        if ledger.is_cut_off(self._memory.head):
            return True
        self._memory.head = ledger.head()
        return ledger.is_superseded(name, digest)

    def has_entries(self) -> bool:
        """Return whether anything was ever signed for this store."""
        ledger = self._ledger()
        return ledger is not None and ledger.has_entries()

    def _ledger(self) -> Ledger | None:
        if not self._is_open:
            self._opened = self._undo.enter_context(self._opening())
            self._is_open = True
        return self._opened


@contextmanager
def remembered(
    file: VerifiedRows | None, opening: Callable[[], AbstractContextManager[Ledger | None]]
) -> Iterator[tuple[Memory, Precedents]]:
    """Yield what is known of a store from before, and keep what is added meanwhile.

    Raises:
        StoreError: the ledger cannot be read, once it is asked for.
    """
    memory = file.load() if file is not None else Memory()
    with ExitStack() as undo:
        yield memory, Precedents(opening, memory, undo)
    if file is None or not memory.changed:
        return
    with suppress(StoreError), opening() as ledger:
        if ledger is not None:
            memory.head = ledger.head()
    file.save(memory)


def verified_rows(environ: Mapping[str, str], store: str, signer: Signer, keyring: Keyring) -> VerifiedRows:
    """Return where the verified rows of `store` are kept.

    An Ed25519 signature is deterministic and secret as long as nobody publishes it, so the hash of one is a key.

    Raises:
        SignerError: the signing key cannot be used.
    """
    trusted = repr([(key.public, sorted(key.roles)) for key in keyring.keys])
    salt = sha256(f"{__version__}\0{store}\0{trusted}".encode()).digest()
    name = sha256(store.encode()).hexdigest()[:32]
    return VerifiedRows(cache_directory(environ) / f"{name}.verified", sha256(signer.sign(_PURPOSE + salt)).digest())
