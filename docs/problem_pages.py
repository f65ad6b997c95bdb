"""The reference of problems: an index by chapter, and a page for every rule, made from its example.

Everything on a page is the rule's own words, the files of its example as they are, or what `reconciler validate` prints
for them. Long files are cut, and what is encoded is shortened; private keys are left out.
"""

from __future__ import annotations

import difflib
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from example_trees import NOT_SHOWN, Example, Tree, examples, report, validated

from reconciler.core.problems import Rule, Severity
from reconciler.core.rules import rules
from reconciler.reports.problems import as_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from reconciler.core.problems import Problem

LONG: Final = 40
"""Lines that are shown all; of more, only the first are."""

FIRST: Final = 12

MANY: Final = 4
"""Problems that are shown all; of more, only the rule's own are."""

MORE: Final = "\N{HORIZONTAL ELLIPSIS}"

_RUN = re.compile(
    r"(?:^(?:# |[ \t]*)[A-Za-z0-9+/]{20,}={0,2}\n){2,}(?:^(?:# |[ \t]*)[A-Za-z0-9+/]+={0,2}\n)?", re.MULTILINE
)
_PRIVATE = re.compile(r"^((?:# )?)(-+BEGIN [A-Z ]*PRIVATE KEY-+\n)(?s:.*?)^\1(-+END )", re.MULTILINE)

_FIXED = "An error stays one: its level cannot be changed, and no gateway can be excused from it."
_ADJUSTABLE = (
    "Its level can be changed in `reconciler.yaml` (`spec.rules`), and a gateway that it is about can be excused from "
    "it until a day (`spec.suppressions`)."
)
_LANGUAGES: Final = {".yaml": "yaml", ".md": "markdown"}


def problem_pages() -> dict[str, str]:
    """Return the index and the page of every rule by their paths."""
    chapters = rules()
    shown = {example.code: example for example in examples()}
    pages = {"problems.md": _index(chapters)}
    for chapter in chapters.values():
        for rule in chapter:
            pages[f"problems/{rule.code}.md"] = "\n".join(_page(rule, shown.get(rule.code))) + "\n"
    return pages


def _index(chapters: Mapping[str, Sequence[Rule]]) -> str:
    lines = [
        "# Problems",
        "",
        "Every problem has a stable code. Errors stop, warnings want a look, infos are good to know.",
        "Behind each code there is an example, what `reconciler validate` says of it, and the same example mended.",
        "These pages are made from the code and the tests' examples by `make docs`.",
    ]
    for chapter, found in chapters.items():
        lines += ["", f"## {chapter}", "", "| code | severity | why it is one |", "| --- | --- | --- |"]
        lines += [
            f'| <a id="{rule.code}"></a>[`{rule.code}`](problems/{rule.code}.md) | {rule.severity} | {rule.why} |'
            for rule in found
        ]
    return "\n".join(lines) + "\n"


def _page(rule: Rule, example: Example | None) -> Iterator[str]:
    yield f"# {rule.code}"
    yield ""
    yield f"**{rule.severity.capitalize()}.** {rule.why}"
    yield ""
    yield _FIXED if rule.severity is Severity.ERROR else _ADJUSTABLE
    yield ""
    if example is not None:
        yield from _example(rule, example)
    else:
        yield f"There is no example here: {NOT_SHOWN.get(rule.code, 'one is missing')}."
    yield ""
    yield "[All problems](../problems.md)"


def _example(rule: Rule, example: Example) -> Iterator[str]:
    before, problems, _ = _look(example.bad)
    after, left, ending = _look(example.good)
    yield "## Example"
    for name, content in before.items():
        yield from ("", f"`{name}`:", "", *_fenced(_cut(content), _LANGUAGES.get(Path(name).suffix, "text")))
    yield from ("", "`reconciler validate` says:", "", *_fenced(_said(rule, problems), "text"))
    yield from ("", "## How to mend it", "")
    fixes = dict.fromkeys(each.fix for each in problems if each.code == rule.code and each.fix)
    yield from (f"> {fix}" for fix in fixes)
    yield from ("", *_fenced(_cut("".join(_changes(before, after))), "diff"), "")
    if left:
        yield from ("Then `reconciler validate` says:", "", *_fenced(ending, "text"))
    else:
        yield f"Then `reconciler validate` says: {ending}"


def _look(tree: Tree) -> tuple[dict[str, str], Sequence[Problem], str]:
    """Return the files of a tree as they are shown, its problems, and all that is printed."""
    with tempfile.TemporaryDirectory() as directory:
        top = Path(directory, "outside", "tree")
        top.mkdir(parents=True)
        tree.write(top)
        validation = validated(top)
        paths = sorted(path for path in top.rglob("*") if path.is_symlink() or path.is_file())
        shown = {path.relative_to(top).as_posix(): _shown(path) for path in paths}
        return shown, validation.problems, report(validation)


def _shown(path: Path) -> str:
    if path.is_symlink():
        return f"(a link to {path.readlink()})\n"
    data = path.read_bytes()
    if b"\0" in data:
        return f"({len(data)} bytes that are no text)\n"
    return _shortened(data.decode("utf-8", "replace"))


def _shortened(text: str) -> str:
    """Return the text with the middle of what is encoded left out, and private keys altogether."""

    def shorten(match: re.Match[str]) -> str:
        first, *middle, last = match[0].splitlines(keepends=True)
        indent = re.match(r"(?:# )?[ \t]*", first)
        return f"{first}{indent[0] if indent else ''}{MORE}\n{last}" if middle else match[0]

    return _RUN.sub(shorten, _PRIVATE.sub(rf"\1\2\1{MORE}\n\1\3", text))


def _cut(text: str) -> str:
    lines = text.splitlines(keepends=True)
    if len(lines) <= LONG:
        return text
    return "".join(lines[:FIRST]) + f"{MORE} ({len(lines) - FIRST:,} more lines)\n"


def _said(rule: Rule, problems: Sequence[Problem]) -> str:
    if len(problems) <= MANY:
        return as_text(problems)
    own = [each for each in problems if each.code == rule.code]
    others = sorted({each.code for each in problems} - {rule.code})
    return f"{as_text(own)}\n{MORE} ({len(problems) - len(own)} more: {', '.join(others)})"


def _changes(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[str]:
    for name in sorted({*before, *after}):
        old, new = (side.get(name, "").splitlines(keepends=True) for side in (before, after))
        titles = [name if name in side else "(no file)" for side in (before, after)]
        yield from difflib.unified_diff(old, new, titles[0], titles[1])


def _fenced(text: str, language: str) -> Iterator[str]:
    yield f"```{language}"
    yield text.removesuffix("\n")
    yield "```"
