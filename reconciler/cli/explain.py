"""`reconciler explain`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from reconciler.cli.options import Voice, Where, command_line, settings_of, voice, where
from reconciler.errors import InputError, ReconcilerError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from reconciler.core.fields import Field, Fields
    from reconciler.core.problems import Rule
    from reconciler.core.provenance import ExplainedGateway
    from reconciler.explaining import Gateways

_WORD_LIMIT: Final = 200
_LISTED: Final = "docs/fields.md lists the fields, docs/problems.md the problems; gateways are looked for below --path"


@click.command(
    epilog="""\b
Examples:
  reconciler explain spec.tls.caCertificates     a field: what it takes, and what stands below it
  reconciler explain caCertificates              the same: the end of a path is enough
  reconciler explain Config.spec.targets         a field of reconciler.yaml
  reconciler explain Gateway                     a kind: Gateway, Defaults or Config
  reconciler explain pem-bad-base64              a problem that `reconciler validate` has reported
  reconciler explain payments                    a gateway: which file and line each of its values comes from
"""
)
@click.argument("word")
@where(argument="option")
@voice("json")
def explain(word: str, where: Where, voice: Voice) -> int:
    """Say what a field or a problem means, or where the values of a gateway come from.

    A gateway's name goes before the rest. Its secrets are references, and stay so. Offline, without credentials.
    """
    from reconciler.core.fields import Fields
    from reconciler.schema_files import load_schemas

    fields = Fields(load_schemas().texts)
    known = _rules(word)
    rule, found = known.get(word), fields.find(word)
    gateways = _gateways(word, where, otherwise_known=bool(rule or found))
    gateway = _explained(word, gateways)
    if gateway is not None:
        _tell_gateway(gateway, voice)
        _tell_namesakes(rule, found, voice)
        if gateway.problems:
            voice.say(f"Next: reconciler validate{command_line(where)}")
    elif rule is not None:
        _tell_problem(rule, voice)
    elif found:
        _tell_field(word, found, voice)
    else:
        raise _unknown(word, fields, known, gateways)
    return 0


def _rules(word: str) -> Mapping[str, Rule]:
    """Return the rules by code; none where the word has a dot, as only a path does."""
    if "." in word:
        return {}
    from reconciler.core.rules import rules

    return {rule.code: rule for chapter in rules().values() for rule in chapter}


def _gateways(word: str, where: Where, *, otherwise_known: bool) -> Gateways | None:
    """Return the gateways of the tree, if the word could be one of them.

    What means something else is explained without a tree, and beside one that cannot be read.
    """
    if "." in word:
        return None
    from reconciler.explaining import Gateways

    try:
        settings = settings_of(where)
        if otherwise_known and settings.config is None and not where.paths:
            return None
        return Gateways(settings)
    except ReconcilerError:
        if otherwise_known:
            return None
        raise


def _explained(word: str, gateways: Gateways | None) -> ExplainedGateway | None:
    from reconciler.clock import now

    return gateways.explain(word, now()) if gateways is not None else None


def _tell_gateway(gateway: ExplainedGateway, voice: Voice) -> None:
    from reconciler.clock import now
    from reconciler.reports.explanations import gateway_document, gateway_text

    if voice.format == "json":
        voice.document(gateway_document(gateway))
    else:
        voice.report(gateway_text(gateway, now(), voice.style))


def _tell_namesakes(rule: Rule | None, found: Sequence[Field], voice: Voice) -> None:
    from reconciler.reports.explanations import page

    if rule is not None:
        voice.say(f"Also a problem: {page(rule)}")
    for field in found:
        voice.say(f"Also a field: reconciler explain {field.word}")


def _tell_problem(rule: Rule, voice: Voice) -> None:
    from reconciler.reports.explanations import problem_document, problem_text

    if voice.format == "json":
        voice.document(problem_document(rule))
    else:
        voice.report(problem_text(rule, voice.style))


def _tell_field(word: str, found: Sequence[Field], voice: Voice) -> None:
    from reconciler.core.hostile import printable
    from reconciler.reports.explanations import field_document, field_text

    field, *others = found
    if others:
        fix = f"say which one: {', '.join(each.word for each in found)}"
        raise InputError(f"`{printable(word)}` is the end of {len(found)} fields", fix=fix)
    if voice.format == "json":
        voice.document(field_document(field))
    else:
        voice.report(field_text(field, voice.style))


def _unknown(word: str, fields: Fields, known: Iterable[str], gateways: Gateways | None) -> InputError:
    import difflib

    from reconciler.core.hostile import printable

    names = gateways.names if gateways is not None else ()
    near = [*difflib.get_close_matches(word[:_WORD_LIMIT], [*names, *known]), *fields.near(word)]
    message = f"`{printable(word)}` is no gateway, no field and no problem"
    if gateways is not None and (faulty := gateways.faulty_files):
        message += f" that could be read; {printable(faulty[0])} has errors"
    return InputError(message, fix=f"did you mean {' or '.join(near)}?" if near else _LISTED)
