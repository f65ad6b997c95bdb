"""What the platform behind a store makes of what was written, where there is one, and it can be asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.core.model import Waited
from reconciler.core.ports import Remote, Serving, ToolCaller
from reconciler.errors import InputError

if TYPE_CHECKING:
    from reconciler.core.model import Served, ToolCall
    from reconciler.core.result import Result
    from reconciler.engine import Engine


def tool_caller(engine: Engine) -> ToolCaller:
    """Return the store as one that calls tools.

    Raises:
        InputError: there is no platform behind it that does.
    """
    if isinstance(engine.store, ToolCaller):
        return engine.store
    raise InputError(f"a {engine.kind} store calls no tools", fix="leave out --prove-with")


def call_tool(engine: Engine, result: Result, tool: str) -> tuple[ToolCall, ...]:
    """Return what came of calling `tool`, through the platform, of each gateway that an apply wrote and left on.

    Raises:
        InputError: there is no platform behind the store that does.
    """
    caller = tool_caller(engine)
    written = {outcome.name for outcome in result.outcomes if outcome.status == "applied"}
    return tuple(
        caller.call_tool(change.name, tool)
        for change in result.plan.changes
        if change.name in written and change.after is not None and change.after.enabled
    )


def broker_reader(engine: Engine) -> Serving:
    """Return the store as one whose platform takes up what was written in its own time, and can be asked.

    Raises:
        InputError: there is no such platform behind it.
    """
    if isinstance(engine.store, Serving):
        return engine.store
    raise InputError(f"a {engine.kind} store has no broker", fix="leave out --broker")


def served(engine: Engine, result: Result) -> tuple[Served, ...]:
    """Return what the platform makes of the gateways that an apply wrote and left on, where it can be asked."""
    if not isinstance(engine.store, Serving):
        return ()
    written = {outcome.name for outcome in result.outcomes if outcome.status == "applied"}
    left_on = (change for change in result.plan.changes if change.after is not None and change.after.enabled)
    return engine.store.served([change.name for change in left_on if change.name in written])


def waited(engine: Engine) -> Waited:
    """Return what the other side of the store's wire took so far, where it has one."""
    return engine.store.waited if isinstance(engine.store, Remote) else Waited()
