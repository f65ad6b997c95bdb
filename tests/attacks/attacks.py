"""The attacks: each says which rows somebody leaves behind who may write everything in a store.

How they get there is for the place: nothing of the store's own way of writing is used, but SQL, a text editor, or the
API of the cluster. What only one kind of store makes possible is in a test file of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from arena import EVIL, OURS, THEIRS

from reconciler.core.canonical import digest, document
from reconciler.core.model import Reason
from reconciler.core.records import sign_record
from reconciler.core.signing import sign_bundle

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from arena import Key, Rows

    from reconciler.core.model import Auth, LiveGateway
    from reconciler.core.planning import Plan


def edited(row: LiveGateway, **fields: Any) -> LiveGateway:
    """Return the row with another content, and all else as it was."""
    return replace(row, gateway=replace(row.gateway, **fields))


def stamped(row: LiveGateway, **fields: Any) -> LiveGateway:
    """Return the row with another stamp, and all else as it was."""
    assert row.stamp is not None
    return replace(row, stamp=replace(row.stamp, **fields))


def fitting(row: LiveGateway) -> LiveGateway:
    """Return the row with the digest in its stamp recomputed, which takes no key."""
    return stamped(row, digest=digest(document(row.gateway)))


def signed_with(key: Key, row: LiveGateway) -> LiveGateway:
    """Return the row signed with this key, bundle and all."""
    row = fitting(row)
    assert row.stamp is not None
    bundle = row.gateway.ca_certificate
    record = sign_record(key, row.gateway, row.stamp)
    return replace(row, signature=sign_bundle(key, bundle) if bundle else "", record=record)


def with_our_key(left: Mapping[str, LiveGateway | None]) -> Mapping[str, LiveGateway | None]:
    """Return what somebody leaves behind who has our private key as well: everything that is stamped is signed."""
    return {name: signed_with(OURS, row) if row is not None and row.stamp else row for name, row in left.items()}


def elsewhere(auth: Auth) -> Auth:
    """Return the same with a reference to another secret."""
    ((purpose, reference),) = auth.secrets
    return replace(auth, secrets=((purpose, replace(reference, name="vault-token")),))


@dataclass(frozen=True, slots=True)
class Attack:
    """One attack: on which gateway, and which rows it leaves behind, given those after each revision."""

    title: str
    on: str
    leaves: Callable[[list[Rows]], Mapping[str, LiveGateway | None]]


def _on(name: str, forge: Callable[[LiveGateway], LiveGateway | None]) -> Callable[[list[Rows]], Mapping[str, Any]]:
    return lambda rows: {name: forge(rows[-1][name])}


def _crossed(rows: list[Rows]) -> Mapping[str, LiveGateway]:
    one, other = rows[-1]["payments"], rows[-1]["refunds"]
    return {
        "payments": fitting(edited(one, url=other.gateway.url)),
        "refunds": fitting(edited(other, url=one.gateway.url)),
    }


def _moved(rows: list[Rows]) -> Mapping[str, LiveGateway]:
    donor = rows[-1]["refunds"]
    row = edited(rows[-1]["payments"], ca_certificate=donor.gateway.ca_certificate)
    return {"payments": fitting(replace(row, signature=donor.signature))}


def _added(rows: list[Rows]) -> Mapping[str, LiveGateway]:
    row = rows[-1]["payments"]
    options = row.gateway.kuadrant
    kuadrant = replace(options, route="evil", hostname="evil.mcp.example") if options.route else options
    return {"evil": fitting(edited(row, name="evil", url="https://evil.example/mcp", kuadrant=kuadrant))}


ATTACKS: Final = (
    Attack("Swap the CA bundle", "payments", _on("payments", lambda row: edited(row, ca_certificate=EVIL))),
    Attack(
        "Swap the CA bundle and take its signature away",
        "payments",
        _on("payments", lambda row: fitting(replace(edited(row, ca_certificate=EVIL), signature=""))),
    ),
    Attack(
        "Swap the CA bundle and sign everything with a key of one's own",
        "payments",
        _on("payments", lambda row: signed_with(THEIRS, edited(row, ca_certificate=EVIL))),
    ),
    Attack(
        "Add a CA to the bundle",
        "payments",
        _on("payments", lambda row: edited(row, ca_certificate=f"{row.gateway.ca_certificate}\n{EVIL}")),
    ),
    Attack("Put the genuine bundle of another gateway in its place", "payments", _moved),
    Attack(
        "Drop the bundle, so that public CAs are trusted",
        "payments",
        _on("payments", lambda row: fitting(replace(edited(row, ca_certificate=""), signature=""))),
    ),
    Attack("Change the URL", "payments", _on("payments", lambda row: edited(row, url="https://evil.example/mcp"))),
    Attack(
        "Change the URL and make the stamp fit",
        "payments",
        _on("payments", lambda row: fitting(edited(row, url="https://evil.example/mcp"))),
    ),
    Attack("Let two gateways change their URLs", "payments", _crossed),
    Attack(
        "Trust public CAs besides the bundle",
        "vault",
        _on("vault", lambda row: fitting(edited(row, system_trust=True))),
    ),
    Attack("Disable a gateway", "search", _on("search", lambda row: fitting(edited(row, enabled=False)))),
    Attack(
        "Send another secret to the upstream",
        "refunds",
        _on(
            "refunds",
            lambda row: fitting(edited(row, auth=elsewhere(row.gateway.auth))),
        ),
    ),
    Attack("Take the row's signature away", "search", _on("search", lambda row: replace(row, record=""))),
    Attack(
        "Take every signature away, all over the store",
        "payments",
        lambda rows: {name: replace(row, signature="", record="") for name, row in rows[-1].items()},
    ),
    Attack("Give a row the signature of another", "search", lambda rows: {
        "search": replace(rows[-1]["search"], record=rows[-1]["payments"].record)
    }),
    Attack("Put back yesterday's row, signatures and all", "payments", lambda rows: {"payments": rows[0]["payments"]}),
    Attack("Put back an older row that says the same", "search", lambda rows: {"search": rows[0]["search"]}),
    Attack("Put back a gateway that git removed", "reports", lambda rows: {"reports": rows[1]["reports"]}),
    Attack(
        "Say that the row came from another commit",
        "search",
        _on("search", lambda row: stamped(row, revision="main@sha1:9999", manifest="elsewhere.yaml")),
    ),
    Attack("Take the protection of a gateway away", "vault", _on("vault", lambda row: stamped(row, protected=False))),
    Attack(
        "Take the protection of a gateway away that git lost, so that it is pruned",
        "archive",
        _on("archive", lambda row: stamped(row, protected=False)),
    ),
    Attack(
        "Say that a row belongs to somebody else",
        "payments",
        _on("payments", lambda row: stamped(row, owner="mallory")),
    ),
    Attack("Take the stamp away", "payments", _on("payments", lambda row: replace(row, stamp=None))),
    Attack("Delete a row", "payments", _on("payments", lambda _row: None)),
    Attack(
        "Add a gateway that claims to be ours",
        "evil",
        _added,
    ),
)  # fmt: skip
"""Twenty and five. Each is one row, or a few, that whoever may write the store can leave behind."""


def named(attack: Attack, plan: Plan) -> str:
    """Return what a plan makes of the gateway that was attacked, as the security page says it."""
    changes = {change.name: change for change in (*plan.changes, *plan.held_back)}
    if any(each.name == attack.on and each.reason is Reason.TAMPERING for each in plan.drift):
        return "tampering"
    if any(each.name == attack.on for each in plan.conflicts):
        return "conflict"
    if attack.on not in changes:
        return "unnoticed"
    return _SAID[changes[attack.on].reason]


_SAID: Final = {
    Reason.ADDED: "created again",
    Reason.DRIFT: "drift",
    Reason.MANIFEST_CHANGED: "an update",
    Reason.PROTECTION_CHANGED: "an update",
    Reason.UNSIGNED: "never signed",
    Reason.REMOVED_FROM_GIT: "deleted",
}
