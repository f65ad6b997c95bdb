"""What a field, a problem or a gateway's values mean: in words for people, as JSON for machines.

Values come from whoever writes manifests, so they are shown printable and cut; the JSON has them whole.
"""

from __future__ import annotations

import json
import textwrap
from typing import TYPE_CHECKING, Any, Final

from reconciler.core.hostile import printable
from reconciler.reports.certificates import certificate_document, one_line
from reconciler.reports.problems import FORMAT_VERSION, diagnostics, summary
from reconciler.reports.style import NAME_LIMIT, PLAIN, Style

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from reconciler.core.fields import Field
    from reconciler.core.problems import Rule
    from reconciler.core.provenance import Explained, ExplainedGateway, Setting

_WIDTH: Final = 100
_VALUE_LIMIT: Final = 120
_VALUE_COLUMN: Final = 44
_BUNDLE: Final = "spec.tls.caCertificates"


def field_text(field: Field, style: Style = PLAIN) -> str:
    """Return what a field is, what it takes, and what stands below it."""
    lines = [f"{style(field.word, 'bold')}  {field.type}{', required' if field.required else ''}"]
    lines += _wrapped(field.description)
    facts = list(_facts(field))
    if facts:
        width = max(len(name) for name, _ in facts)
        lines += ["", *(f"  {style(name.ljust(width), 'dim')}  {said}" for name, said in facts)]
    below = list(_below(field, style))
    return "\n".join([*lines, *(["", *below] if below else [])])


def field_document(field: Field) -> dict[str, Any]:
    """Return the published JSON shape of a field, and of those right below it."""
    return {
        "format_version": FORMAT_VERSION,
        "field": {**_field_document(field), "fields": [_field_document(each) for each in field.fields]},
    }


def problem_text(rule: Rule, style: Style = PLAIN) -> str:
    """Return why a problem is one, and where more is said about it."""
    return "\n".join([f"{style(rule.code, 'bold')}  {rule.severity}", *_wrapped(rule.why), "", f"  {page(rule)}"])


def problem_document(rule: Rule) -> dict[str, Any]:
    """Return the published JSON shape of a kind of problem."""
    about = {"code": rule.code, "severity": rule.severity, "why": rule.why, "documentation": page(rule)}
    return {"format_version": FORMAT_VERSION, "problem": about}


def page(rule: Rule) -> str:
    """Return where the documentation speaks of a kind of problem."""
    return f"docs/problems/{rule.code}.md"


def gateway_text(gateway: ExplainedGateway, now: datetime, style: Style = PLAIN) -> str:
    """Return every value of a gateway and the line that sets it, and what that line overrides."""
    lines = [f"{style(gateway.name, 'bold')}  {printable(gateway.file, NAME_LIMIT)}:{gateway.line}"]
    lines += [f"  {style(name.ljust(9), 'dim')}  {said}" for name, said in _about(gateway)]
    lines.append("")
    width = max((len(each.path) for each in gateway.values), default=0)
    for each in gateway.values:
        lines += _value_lines(each, width, style)
        if each.path == _BUNDLE:
            lines += [" " * (width + 4) + one_line(certificate, now) for certificate in gateway.certificates]
    if gateway.problems:
        found = style(summary(gateway.problems), "red")
        lines += ["", f"{found} in the files it is made of. Values that are wrong are left out."]
    return "\n".join(lines)


def gateway_document(gateway: ExplainedGateway) -> dict[str, Any]:
    """Return the published JSON shape of an explained gateway. Where a default holds, file and line are null."""
    return {
        "format_version": FORMAT_VERSION,
        "gateway": gateway.name,
        "file": gateway.file,
        "line": gateway.line,
        "labels": dict(gateway.labels),
        "protected": gateway.protected,
        "targets": None if gateway.targets is None else list(gateway.targets),
        "values": [_value_document(each) for each in gateway.values],
        "certificates": [certificate_document(each) for each in gateway.certificates],
        "diagnostics": diagnostics(gateway.problems),
    }


def _facts(field: Field) -> Iterator[tuple[str, str]]:
    if field.variant:
        yield "beside", f"type: {field.variant}"
    if field.allowed:
        yield "allowed", ", ".join(field.allowed)
    if field.default is not None:
        yield "default", _written(field.default)
    if field.limits:
        yield "takes", "; ".join(field.limits)
    for each in field.fields:
        if each.limits and each.path.endswith(("[]", ".*")):
            yield "each", "; ".join(each.limits)
    if field.path:
        yield "example", _written(field.example)


def _below(field: Field, style: Style) -> Iterator[str]:
    """Yield a line for each field below, those that need a `type` beside them under that type."""
    rows = list(_rows(field.fields))
    paths = max((len(path) for path, *_ in rows), default=0)
    types = max((len(kind) for _, kind, *_ in rows), default=0)

    def lines(variant: str) -> Iterator[str]:
        for path, kind, description, beside in rows:
            if beside == variant:
                yield f"  {path.ljust(paths)}  {style(kind.ljust(types), 'dim')}  {_first_sentence(description)}"

    yield from lines("")
    for variant, meaning in field.variants:
        yield from ("", f"  {style(f'type: {variant}', 'bold')}  {meaning}", *lines(variant))


def _first_sentence(text: str) -> str:
    first, stop, _ = text.partition(". ")
    return first + stop.strip()


def _rows(fields: Sequence[Field]) -> Iterator[tuple[str, str, str, str]]:
    """Yield path, type, description and variant of each field; below items and the two halves of a document as well."""
    for field in fields:
        kind = f"{field.type}, required" if field.required else field.type
        yield field.path, kind, field.description, field.variant
        if field.is_item or field.path in ("metadata", "spec"):
            yield from _rows(field.fields)


def _field_document(field: Field) -> dict[str, Any]:
    return {
        "kind": field.kind,
        "path": field.path,
        "type": field.type,
        "description": field.description,
        "required": field.required,
        "default": field.default,
        "allowed": list(field.allowed),
        "limits": list(field.limits),
        "example": field.example,
        "beside_type": field.variant,
    }


def _about(gateway: ExplainedGateway) -> Iterator[tuple[str, str]]:
    if gateway.labels:
        yield "labels", ", ".join(f"{printable(key)}={printable(value)}" for key, value in gateway.labels)
    if gateway.protected:
        yield "protected", "yes: it stays when its manifest is removed"
    if gateway.targets is not None:
        yield "targets", ", ".join(gateway.targets) or "none: no target selects it"


def _value_lines(explained: Explained, width: int, style: Style) -> Iterator[str]:
    setting = explained.setting
    value = printable(_written(setting.value), _VALUE_LIMIT)
    look = "cyan" if setting.file else "dim"
    yield f"  {explained.path.ljust(width)}  {value.ljust(_VALUE_COLUMN)}  {style(_place(setting), look)}"
    for each in explained.overrides:
        overridden = printable(_written(each.value), _VALUE_LIMIT)
        yield " " * (width + 4) + style(f"overrides {_place(each)} ({overridden})", "dim")


def _place(setting: Setting) -> str:
    return f"{printable(setting.file, NAME_LIMIT)}:{setting.line}" if setting.file else "default"


def _written(value: object) -> str:
    """Return a value as a manifest has it: text as it is, everything else as JSON, which is YAML."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _value_document(explained: Explained) -> dict[str, Any]:
    overrides = [_setting_document(each) for each in explained.overrides]
    return {"path": explained.path, **_setting_document(explained.setting), "overrides": overrides}


def _setting_document(setting: Setting) -> dict[str, Any]:
    return {
        "value": setting.value,
        "file": setting.file or None,
        "line": setting.line or None,
        "from": setting.source,
    }


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent="  ", subsequent_indent="  ")
