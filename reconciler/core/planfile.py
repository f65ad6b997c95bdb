"""A saved plan: what a reviewer approved, so that exactly that is applied, or nothing.

The file is an agreement, not an order: whoever applies it plans again from the tree and the store, and goes on only if
that gives the very same changes to the very same rows. Editing the file can therefore make an apply stop, never write.
It holds references and digests, no secret.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from reconciler.core.canonical import digest, gateway_digest
from reconciler.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from reconciler.core.model import Change
    from reconciler.core.planning import Plan

FORMAT_VERSION: Final = "1.0"
MAX_BYTES: Final = 512 * 1024 * 1024

_AGAIN: Final = "run `reconciler plan --out` again, and have the new plan reviewed"


@dataclass(frozen=True, slots=True)
class Row:
    """One change, as far as it must not move: the row it starts from, and the row and signature it writes.

    `before` is the row's version token and `after` the digest of what is written; each is empty where there is no row.
    """

    name: str
    action: str
    before: str
    after: str
    signature: str


@dataclass(frozen=True, slots=True)
class TargetPlan:
    """What was planned for one target. `store` is its URL without credentials, `checksum` the plan's."""

    name: str
    store: str
    owner: str
    revision: str
    dirty: bool
    checksum: str
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class SavedPlan:
    """The words that the plan was made with, and what came of them for each target."""

    paths: tuple[str, ...]
    config: str
    target: str
    scope: Mapping[str, Any]
    targets: tuple[TargetPlan, ...]


def target_plan(name: str, store: str, owner: str, plan: Plan) -> TargetPlan:
    """Return what has to be the same again when the plan is applied."""
    rows = tuple(map(_row, plan.changes))
    return TargetPlan(name, store, owner, plan.revision, plan.dirty, plan.checksum, rows)


def as_document(saved: SavedPlan, reports: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the file's content, with the JSON report of each target's plan for whoever reads it."""
    content = {
        "format_version": FORMAT_VERSION,
        "kind": "Plan",
        "paths": list(saved.paths),
        "config": saved.config,
        "target": saved.target,
        "scope": dict(saved.scope),
        "targets": [
            {**asdict(target), "rows": [asdict(row) for row in target.rows], "plan": report}
            for target, report in zip(saved.targets, reports, strict=True)
        ],
    }
    return {**content, "digest": digest(content)}


def read_plan(data: bytes) -> SavedPlan:
    """Return the plan in a file.

    Raises:
        InputError: it is not a plan, of another version, or not as it was saved.
    """
    try:
        content = json.loads(data[: MAX_BYTES + 1])
        if content["kind"] != "Plan" or content["format_version"].partition(".")[0] != "1":
            raise InputError("the file is not a plan of a version that is known", fix=_AGAIN)
        given = content.pop("digest")
        saved = SavedPlan(
            paths=tuple(map(str, content["paths"])),
            config=str(content["config"]),
            target=str(content["target"]),
            scope=dict(content["scope"]),
            targets=tuple(_target(each) for each in content["targets"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise InputError(
            "the file is not a saved plan", fix="give the file that `reconciler plan --out` wrote"
        ) from None
    if given != digest(content):
        raise InputError("the plan is not as it was saved: somebody or something changed the file", fix=_AGAIN)
    return saved


def moved(saved: TargetPlan, now: TargetPlan) -> tuple[str, ...]:
    """Return, as sentences, what is not any more as it was when the plan was saved; nothing when all of it is."""
    if saved.store != now.store:
        return (f"the plan is for the store {saved.store}, and this is {now.store}",)
    if saved.owner != now.owner:
        return (f"the plan is for the owner {saved.owner}, and the config file now says {now.owner}",)
    if saved.checksum == now.checksum and saved.rows == now.rows:
        return ()
    return tuple(_differences(saved, now)) or ("the plan's checksum does not fit its rows",)


def _differences(saved: TargetPlan, now: TargetPlan) -> Iterator[str]:
    if saved.revision != now.revision:
        one, other = (revision or "no commit" for revision in (saved.revision, now.revision))
        yield f"the plan was made from {one}, and the tree is at {other}"
    before = {row.name: row for row in saved.rows}
    after = {row.name: row for row in now.rows}
    for name in sorted(before.keys() | after.keys()):
        yield from _difference(name, before.get(name), after.get(name))


def _difference(name: str, saved: Row | None, now: Row | None) -> Iterator[str]:
    if saved is None and now is not None:
        yield f"`{name}` would be {now.action}d now, and was not in the plan"
    elif now is None and saved is not None:
        yield f"`{name}` was to be {saved.action}d, and there is nothing to do for it any more"
    elif saved is not None and now is not None and saved != now:
        if saved.action != now.action:
            yield f"`{name}` was to be {saved.action}d, and would be {now.action}d now"
        elif saved.before != now.before:
            yield f"`{name}` was changed in the store since"
        elif saved.after != now.after:
            yield f"the manifest of `{name}`, or what it refers to, changed since"
        else:
            yield f"`{name}` would be signed with another key"


def _row(change: Change) -> Row:
    return Row(
        name=change.name,
        action=change.action.value,
        before=change.before.token if change.before else "",
        after=gateway_digest(change.after) if change.after else "",
        signature=change.signature,
    )


def _target(content: Any) -> TargetPlan:  # noqa: ANN401 - JSON as found
    return TargetPlan(
        name=str(content["name"]),
        store=str(content["store"]),
        owner=str(content["owner"]),
        revision=str(content["revision"]),
        dirty=bool(content["dirty"]),
        checksum=str(content["checksum"]),
        rows=tuple(Row(**{name: str(value) for name, value in row.items()}) for row in content["rows"]),
    )
