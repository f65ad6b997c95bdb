"""One change, judged by the API server first and then written: what is referred to before what refers to it.

    create, update   Secret, Service, HTTPRoute (until a Gateway accepts it), registration; then what is needed no more
    delete           registration (until its finalizer is gone), HTTPRoute, Service, Secret
    another prefix   delete, then create: Kuadrant never changes one
    another name     create, then delete

Every object goes through a dry run before the first is written, so that a conflict or a field that the cluster does not
know stops the change as a whole. Fields that somebody edited are taken back where the plan says so (drift, tampering,
adoption); what another manager applies is never taken.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from reconciler.clock import now
from reconciler.core.hostile import printable
from reconciler.core.model import Action, Outcome, Reason
from reconciler.stores.kubernetes.conditions import accepted, finding, refusal, since
from reconciler.stores.kubernetes.failures import BAD_REQUEST, CONFLICT, FORBIDDEN, INVALID, CallError, RefusedError
from reconciler.stores.kubernetes.marks import listed, mapping
from reconciler.stores.kubernetes.objects import (
    NAME,
    REGISTRATION,
    ROUTE,
    SECRET,
    WRITTEN,
    objects_of,
    route_name,
)
from reconciler.stores.kubernetes.rows import Parts, ca_secret, name_of, parts_of, resource_version

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime

    from reconciler.core.model import Change, Gateway
    from reconciler.stores.kubernetes.failures import Holder
    from reconciler.stores.kubernetes.objects import Kind, Object
    from reconciler.stores.kubernetes.wire import Wire

    Found = Mapping[str, Any]

_REFUSALS: Final = (CONFLICT, INVALID, BAD_REQUEST)
_STATUS_RACES: Final = 4
_TAKING_BACK: Final = frozenset({Reason.DRIFT, Reason.TAMPERING, Reason.ADOPTED})
_NEVER_SOMEBODY_ELSES: Final = ("credentialRef", "caCertSecretRef")
"""What decides whom to trust and what to send: where the manifest names none there must be none."""

_MOST_CA_BYTES: Final = 65_536
_GLANCE_SECONDS: Final = 0.2


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait, in seconds: for a route to be accepted, for the finalizer, for the controller's word.

    And for the kubelet, which brings a changed Secret into a Pod at its next synchronisation, by default every minute
    and with jitter, https://kubernetes.io/docs/concepts/configuration/secret/#mounted-secrets-are-updated-automatically
    """

    route: float = 30.0
    finalizer: float = 60.0
    word: float = 10.0
    kubelet: float = 90.0


class Writer:
    """Makes the changes of one apply."""

    def __init__(self, wire: Wire, patience: Patience) -> None:
        self._wire = wire
        self._patience = patience
        self.taken_up: dict[str, datetime] = {}
        """From when on the broker must have what was written last, for each gateway that it connects to anew."""

    def parts(self, name: str) -> Parts:
        """Return the objects of a gateway as they are now."""
        found = {kind: self._wire.all(kind, name) for kind in WRITTEN if kind is not REGISTRATION}
        registration = self._wire.get(REGISTRATION, name) if NAME.fullmatch(name) else None
        return self.completed(parts_of(name, registration, found))

    def completed(self, parts: Parts) -> Parts:
        """Return the same with the Secret that the registration names, where that is not one of ours."""
        named = ca_secret(parts.objects)
        if not named or parts.ca is not None:
            return parts
        return replace(parts, ca=self._wire.get(SECRET, named))

    def make(self, change: Change, before: Parts) -> Outcome:
        """Make one change, from the objects that are there before it."""
        try:
            note = self._made(change, before)
        except RefusedError as error:
            return Outcome(change.name, change.action, "refused", error.in_one_line())
        except CallError as error:
            refused = error.status in _REFUSALS
            return Outcome(change.name, change.action, "refused" if refused else "failed", error.in_one_line())
        return Outcome(change.name, change.action, "applied", note)

    def _made(self, change: Change, before: Parts) -> str:
        gateway = change.after
        if change.action is Action.DELETE or gateway is None:
            self._delete(before)
            return ""
        _refuse_unwritable(gateway)
        if not gateway.kuadrant.hostname:
            self._await_route(route_name(gateway))
        if change.held_as != change.name:
            note = self._write(change, Parts())
            self._delete(before)
            return note
        if is_replaced(before, gateway):
            self._judge(change, Parts(), named=f"{change.name}-again")
            self._delete(before)
            return self._write(change, Parts())
        return self._write(change, before)

    def _write(self, change: Change, before: Parts) -> str:
        """Write the objects that a change wants, take away those that it wants no more, and hear what Kuadrant says."""
        wanted, taken = objects_of(change, self._wire.namespace), self._judge(change, before)
        written: dict[Kind, Found] = {}
        for kind in (each for each in WRITTEN if each in wanted):
            found, new = self._apply(kind, wanted[kind], before, force=kind in taken)
            written[kind] = found
            if kind is ROUTE:
                self._await_route(name_of(found))
        if new and REGISTRATION in before.objects:
            raise CallError("somebody deleted it at the same moment, and now it is there again", fix="plan again")
        if not new and REGISTRATION not in before.objects:
            raise CallError("somebody else created it at the same moment", fix="plan again")
        self._strip(found, wanted[REGISTRATION])
        self._remove(each for each in before.ours() if name_of(each[1]) != name_of(wanted.get(each[0], {})))
        self._listen(change.name, before)
        self._note(change, written, before)
        return "; ".join(f"took {each.field} back from `{each.manager}`" for kind in taken for each in taken[kind])

    def foreseen(self, change: Change, before: Parts) -> str:
        """Return why the API server would not take a change as things are, or nothing, and write nothing.

        Raises:
            CallError: it could not be asked.
        """
        try:
            if change.after is not None:
                self._foresee(change, change.after, before)
        except RefusedError as error:
            return error.in_one_line()
        except CallError as error:
            if error.status in _REFUSALS:
                return error.in_one_line()
            if error.status != FORBIDDEN:  # who may only read may plan, and has nothing judged
                raise
        return ""

    def _foresee(self, change: Change, gateway: Gateway, before: Parts) -> None:
        _refuse_unwritable(gateway)
        if not gateway.kuadrant.hostname and self._wire.get(ROUTE, route_name(gateway)) is None:
            raise _no_route(route_name(gateway))
        if is_replaced(before, gateway):
            self._judge(change, Parts(), named=f"{change.name}-again")
        else:
            self._judge(change, before)

    def _note(self, change: Change, written: Mapping[Kind, Found], before: Parts) -> None:
        """Remember from when on the broker has what was written, where that is anything to it.

        One that is new to it is not known to it before. Of another one it tells, until then, what it saw with the old
        configuration.
        """
        if all(_content(found) == _content(before.objects.get(kind, {})) for kind, found in written.items()):
            return
        new = change.action is Action.CREATE
        self.taken_up[change.name] = now() + timedelta(seconds=0.0 if new else self._patience.kubelet)

    def _judge(self, change: Change, before: Parts, named: str = "") -> dict[Kind, tuple[Holder, ...]]:
        """Have the API server judge all of a change, and return from whom something is to be taken back, by kind.

        With `named` the registration is judged as a new one of that name: what is there stands in its way.

        Raises:
            CallError: it would not be taken.
        """
        taken: dict[Kind, tuple[Holder, ...]] = {}
        for kind, content in objects_of(change, self._wire.namespace).items():
            again = named and kind is REGISTRATION
            judged = {**content, "metadata": {**content["metadata"], "name": named}} if again else content
            try:
                self._apply(kind, judged, before, dry_run=True)
            except CallError as error:
                if not error.holders:
                    raise
                if change.reason not in _TAKING_BACK or any(holder.insists for holder in error.holders):
                    raise
                self._apply(kind, judged, before, dry_run=True, force=True)
                taken[kind] = error.holders
        return taken

    def _apply(
        self, kind: Kind, content: Object, before: Parts, *, dry_run: bool = False, force: bool = False
    ) -> tuple[Found, bool]:
        """Apply an object over what was read. A status that a controller gave a route meanwhile stands in no way.

        Raises:
            CallError: it is not taken, or not what was read any more.
        """
        found = before.objects.get(kind)
        for _ in range(_STATUS_RACES):
            try:
                return self._wire.apply(kind, _over(content, found), dry_run=dry_run, force=force)
            except CallError as error:
                fresh = self._only_status_changed(found) if kind is ROUTE and _is_outdated(error) else None
                if fresh is None:
                    raise
                found = fresh
        return self._wire.apply(kind, _over(content, found), dry_run=dry_run, force=force)

    def _only_status_changed(self, route: Found | None) -> Found | None:
        """Return a route as it is now, where nothing but its status is other than it was read."""
        now = self._wire.get(ROUTE, name_of(route)) if route is not None else None
        if now is None or route is None or resource_version(now) == resource_version(route):
            return None
        return now if _specified(now) == _specified(route) else None

    def _strip(self, found: Found, wanted: Object) -> None:
        """Take away what somebody put where we want nothing: no apply does, for we never held it."""
        stray = [name for name in _NEVER_SOMEBODY_ELSES if name in found["spec"] and name not in wanted["spec"]]
        if stray:
            held = {"resourceVersion": resource_version(found)}
            self._wire.merge(REGISTRATION, name_of(found), {"metadata": held, "spec": dict.fromkeys(stray)})

    def _delete(self, before: Parts) -> None:
        """Delete the objects of a gateway: the registration, and once Kuadrant has let go of it, the others.

        Raises:
            CallError: the finalizer stays.
        """
        if (registration := before.objects.get(REGISTRATION)) is not None:
            self._wire.delete(REGISTRATION, registration)
            self._await_end(registration)
        self._remove(before.ours())

    def _remove(self, objects: Iterable[tuple[Kind, Found]]) -> None:
        for kind, found in sorted(objects, key=lambda each: -WRITTEN.index(each[0])):
            self._wire.delete(kind, found)

    def _await_end(self, registration: Found) -> None:
        name, uid = name_of(registration), registration["metadata"]["uid"]
        for _ in _glances(self._patience.finalizer):
            found = self._wire.get(REGISTRATION, name)
            if found is None or found["metadata"]["uid"] != uid:
                return
        kept = ", ".join(map(str, listed(found["metadata"].get("finalizers")))) if found else ""
        raise CallError(
            f"it is being deleted, and {kept or 'something'} has not let go of it",
            fix="see whether Kuadrant's controller runs, and apply again; its Secret and route are left until then",
        )

    def _await_route(self, name: str) -> None:
        """Wait until a Gateway has accepted the route.

        Raises:
            RefusedError: there is no such route.
            CallError: no Gateway accepts it.
        """
        said = ""
        for _ in _glances(self._patience.route):
            route = self._wire.get(ROUTE, name)
            if route is None:
                raise _no_route(name)
            if accepted(route):
                return
            said = refusal(route)
        raise CallError(
            f"no Gateway has accepted the HTTPRoute `{name}`{f' ({said})' if said else ''}",
            fix="look at its parents: kubectl describe httproute",
        )

    def _listen(self, name: str, before: Parts) -> None:
        """Hear what Kuadrant says of a registration; what it said before it may go on saying for a while.

        Raises:
            CallError: it does not take it.
        """
        known = since(before.objects.get(REGISTRATION, {}))
        heard = None
        for _ in _glances(self._patience.word):
            registration = self._wire.get(REGISTRATION, name) or {}
            heard = finding(registration)
            if heard is not None and (heard.ready or since(registration) != known):
                break
        if heard is not None and not heard.ready:
            raise CallError(f"written, but {heard.message}", fix=heard.fix)


def is_replaced(before: Parts, gateway: Gateway) -> bool:
    """Return whether a registration has to be deleted and made anew: another prefix, or another route.

    A prefix is never changed, and of another route's registration the old entry would stay behind.
    """
    if REGISTRATION not in before.objects:
        return False
    spec = mapping(before.objects[REGISTRATION].get("spec"))
    prefix, route = spec.get("prefix"), mapping(spec.get("targetRef")).get("name")
    return (bool(prefix) and prefix != gateway.kuadrant.prefix) or route != route_name(gateway)


def _over(content: Object, found: Found | None) -> Object:
    """Return an object to apply over what is there, and over nothing else."""
    if found is None or name_of(found) != content["metadata"]["name"]:
        return content
    held = {"uid": found["metadata"]["uid"], "resourceVersion": resource_version(found)}
    return {**content, "metadata": {**content["metadata"], **held}}


def _is_outdated(error: CallError) -> bool:
    return error.status == CONFLICT and not error.holders


def _specified(found: Found) -> tuple[object, ...]:
    """Return what changes with what is asked of an object, and not with what became of it."""
    metadata = mapping(found.get("metadata"))
    return tuple(metadata.get(each) for each in ("uid", "generation", "labels", "annotations"))


def _content(found: Found) -> tuple[object, object]:
    return found.get("spec"), found.get("data")


def _unwritable(gateway: Gateway) -> str:
    """Return why a gateway cannot be written, or nothing."""
    if not NAME.fullmatch(gateway.name):
        return f"`{printable(gateway.name, 80)}` is no name for an object of Kubernetes: a-z, 0-9 and `-` make one"
    if not route_name(gateway):
        return "it has no route: set `kuadrant.route` to an HTTPRoute, or `kuadrant.hostname` to have one made"
    if (size := len(gateway.ca_certificate.encode())) > _MOST_CA_BYTES:
        return f"its CA bundle has {size:,} bytes, and Kuadrant takes {_MOST_CA_BYTES:,}: name only its own CAs"
    for _, reference in gateway.auth.secrets:
        if reference.kind != "secretKeyRef":
            return "its credential is not in the cluster: Kuadrant takes it from a Secret, so name it by `secretKeyRef`"
    return ""


def _refuse_unwritable(gateway: Gateway) -> None:
    if why := _unwritable(gateway):
        raise RefusedError(why)


def _no_route(name: str) -> RefusedError:
    return RefusedError(f"there is no HTTPRoute `{name}`", fix="create it, or set `kuadrant.hostname`")


def _glances(seconds: float) -> Iterator[None]:
    """Yield at once, and then every now and then until the time is over."""
    deadline = time.monotonic() + seconds
    yield
    while time.monotonic() < deadline:
        time.sleep(_GLANCE_SECONDS)
        yield
