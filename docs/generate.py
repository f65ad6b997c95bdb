"""Makes the reference pages out of the code: `make docs`. A test holds the pages to what this prints."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from reconciler.cli import EXIT_CODES, cli
from reconciler.daemon.web.metrics import METRICS
from reconciler.schema_files import schema_texts

HERE = Path(__file__).parent

Json = Any


def pages() -> dict[str, str]:
    """Return the text of every generated page by its file name."""
    from problem_pages import problem_pages

    return {
        **problem_pages(),
        "commands.md": _commands(),
        "exit-codes.md": _exit_codes(),
        "fields.md": _fields(),
        "metrics.md": _metrics(),
    }


def _commands() -> str:
    context = click.Context(cli, info_name="reconciler", **cli.context_settings)
    lines = ["# Commands", "", "This page is made from the code by `make docs`.", *_command(cli, context)]
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        if command is not None:
            lines += _tree(command, click.Context(command, info_name=name, parent=context))
    return "\n".join(lines) + "\n"


def _tree(command: click.Command, context: click.Context) -> list[str]:
    lines = _command(command, context)
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            lines += _command(inner, click.Context(inner, info_name=name, parent=context))
    return lines


def _command(command: click.Command, context: click.Context) -> list[str]:
    context.terminal_width = context.max_content_width = 110
    return ["", f"## {context.command_path}", "", "```text", command.get_help(context).rstrip(), "```"]


def _exit_codes() -> str:
    lines = [
        "# Exit codes",
        "",
        "Every command ends with one of these. Of several targets, or several reasons, the gravest counts. This page",
        "is made from the code by `make docs`.",
        "",
        "| code | meaning | what to do |",
        "| --- | --- | --- |",
        *(f"| {code} | {name} | {advice} |" for code, (name, advice) in EXIT_CODES.items()),
    ]
    return "\n".join(lines) + "\n"


def _metrics() -> str:
    lines = [
        "# Metrics",
        "",
        "What [the daemon](daemon.md) says at `/metrics`. This page is made from the code by `make docs`.",
        "",
        "| metric | kind | labels | what |",
        "| --- | --- | --- | --- |",
    ]
    for name, each in METRICS.items():
        labels = ", ".join(f"`{label}`" for label in each.labels) or "-"
        lines.append(f"| `{name}` | {each.kind} | {labels} | {each.help} |")
    return "\n".join(lines) + "\n"


def _fields() -> str:
    lines = [
        "# Fields",
        "",
        "Every field of every kind, from the JSON Schemas in `schemas/`. This page is made by `make docs`.",
    ]
    for kind in ("gateway", "defaults", "config"):
        schema = json.loads(schema_texts()[f"{kind}.v1.schema.json"])
        lines += ["", f"## {schema['properties']['kind']['const']}", "", schema["description"], ""]
        lines += ["| field | type | meaning |", "| --- | --- | --- |"]
        for name, field in schema["properties"].items():
            lines += _rows(name, field, schema["$defs"], required=name in schema["required"])
    return "\n".join(lines) + "\n"


def _rows(name: str, field: Json, definitions: Json, *, required: bool) -> list[str]:
    if field is True:
        return []
    resolved = {**definitions[field["$ref"].rpartition("/")[2]], **field} if "$ref" in field else field
    mark = " (required)" if required else ""
    meaning = resolved["description"].replace("|", "\\|")
    example = json.dumps(resolved["examples"][0], ensure_ascii=False).replace("|", "\\|")
    rows = [f"| `{name}`{mark} | {_type(resolved)} | {meaning} Example: `{example}` |"]
    for inner, value in resolved.get("properties", {}).items():
        rows += _rows(f"{name}.{inner}", value, definitions, required=inner in resolved.get("required", ()))
    for branch in resolved.get("allOf", ()):
        variant = definitions[branch["then"]["$ref"].rpartition("/")[2]]
        kind = branch["if"]["properties"]["type"]["const"]
        for inner, value in variant["properties"].items():
            rows += _rows(f"{name}.{inner} ({kind})", value, definitions, required=inner in variant["required"])
    return rows


def _type(field: Json) -> str:
    if "const" in field:
        return f"`{field['const']}`"
    if "enum" in field:
        return ", ".join(f"`{each}`" for each in field["enum"])
    kind = field.get("type", "any")
    return " or ".join(kind) if isinstance(kind, list) else str(kind)


if __name__ == "__main__":
    sys.path.append(str(HERE.parent / "tests"))  # whose examples are shown
    wanted = pages()
    for page in sorted(HERE.glob("problems/*.md")):
        if f"problems/{page.name}" not in wanted:
            page.unlink()
    for name, text in wanted.items():
        (HERE / name).parent.mkdir(exist_ok=True)
        (HERE / name).write_text(text, encoding="utf-8")
