"""Formatting moves what an author wrote, and never changes what it says."""

from __future__ import annotations

import json
import re
from pathlib import Path
from textwrap import dedent
from typing import Final

import pytest

from reconciler.core.key_order import FREE, key_order
from reconciler.core.layout import NOT_FORMATTABLE, format_manifests
from reconciler.core.strict_yaml import read_yaml
from reconciler.schema_files import load_schemas

ROOT: Final = Path(__file__).parents[2]
ORDERS: Final = {kind: key_order(json.loads(text)) for kind, text in load_schemas().texts.items()}


def formatted(text: str) -> str:
    """Return the text after formatting, which has no objections and nothing to do the second time."""
    first = format_manifests("a.yaml", text.encode(), ORDERS)
    assert first.problems == ()
    again = format_manifests("a.yaml", first.data, ORDERS)
    assert again.data == first.data
    return first.data.decode()


def gateway(spec: str) -> str:
    """Return a manifest in the canonical layout with these lines of `spec`."""
    return f"apiVersion: reconciler/v1\nkind: Gateway\nmetadata:\n  name: a\nspec:\n{_shifted(spec)}"


def _shifted(text: str) -> str:
    return "".join(f"  {line}\n" if line else "\n" for line in dedent(text).strip("\n").split("\n"))


def becomes(before: str, after: str) -> None:
    assert formatted(gateway(before)) == gateway(after)


def stays(spec: str) -> None:
    becomes(spec, spec)


def test_keys_stand_in_the_order_of_the_schema() -> None:
    before = """\
        spec: {verify: {timeout: 1s, mode: off}, transport: sse, url: "https://a.example"}
        metadata: {labels: {z: a, a: z}, name: a}
        kind: Gateway
        apiVersion: reconciler/v1
        """
    after = """\
        apiVersion: reconciler/v1
        kind: Gateway
        metadata: {name: a, labels: {z: a, a: z}}
        spec: {url: "https://a.example", transport: sse, verify: {mode: off, timeout: 1s}}
        """
    assert formatted(dedent(before)) == dedent(after)


def test_unknown_keys_follow_the_known_ones_in_the_order_of_the_author() -> None:
    becomes("zebra: 1\nurl: u\nant: 2", "url: u\nzebra: 1\nant: 2")


def test_keys_of_a_variant_have_their_order_too() -> None:
    becomes(
        """
        auth:
          headers:
            - valueFrom: {env: A}
              name: X-A
          type: headers
        """,
        """
        auth:
          type: headers
          headers:
            - name: X-A
              valueFrom: {env: A}
        """,
    )


def test_labels_and_annotations_keep_the_order_of_the_author() -> None:
    order = ORDERS["Gateway"].keys["metadata"].keys
    assert order["labels"] == order["annotations"] == FREE


def test_comments_move_with_the_entry_below_them() -> None:
    becomes(
        """
        # how it is called
        # for now
        transport: sse
        # where it is
        url: https://a.example  # for ever
        """,
        """
        # where it is
        url: https://a.example  # for ever
        # how it is called
        # for now
        transport: sse
        """,
    )


def test_what_stands_above_the_first_key_of_a_document_stays_there() -> None:
    head = "# yaml-language-server: $schema=x\n# Copyright\n\n"
    text = "kind: Gateway\napiVersion: reconciler/v1\nmetadata: {name: a}\nspec: {url: u}\n"
    assert formatted(head + text).startswith(f"{head}apiVersion: reconciler/v1\nkind: Gateway\n")


def test_a_comment_deeper_than_what_follows_ends_the_collection_before_it() -> None:
    becomes(
        """
        verify:
            mode: off
            # timeout: 1s
        # about the tags
        tags:
        - one
        - two
          # - three
        # about trust
        tls:
          # caCertificates: none yet
        transport: sse
        """,
        """
        transport: sse
        # about the tags
        tags:
          - one
          - two
          # - three
        # about trust
        tls:
          # caCertificates: none yet
        verify:
          mode: off
          # timeout: 1s
        """,
    )


def test_the_last_comments_of_a_document_stay_last() -> None:
    assert formatted("kind: Gateway\napiVersion: reconciler/v1\n# end\n").endswith("kind: Gateway\n# end\n")


def test_comments_beside_something_stay_beside_it() -> None:
    becomes(
        """
        tls:    # trust
          systemTrust: false# no comment
          caCertificates: # files
          -   a.pem   # one
          -   b.pem # two
        tags: [a,b]# short
        description: |    # long
          text # no comment
        """,
        """
        description: |  # long
          text # no comment
        tags: [a, b]  # short
        tls:  # trust
          caCertificates:  # files
            - a.pem  # one
            - b.pem  # two
          systemTrust: false# no comment
        """,
    )


def test_comments_after_a_dash_stand_above_it() -> None:
    becomes(
        """
        auth:
          headers:
            - # the first
              valueFrom: {env: A}
              # its name
              name: X-A

            - # the second

              name: X-B
        """,
        """
        auth:
          headers:
            # the first
            # its name
            - name: X-A
              valueFrom: {env: A}

            # the second

            - name: X-B
        """,
    )


def test_a_flow_collection_stays_on_its_line_while_it_fits() -> None:
    fits = "tags: [" + ", ".join(["a" * 9] * 8) + "]"
    assert len(fits) == 94
    becomes("tags: [" + ",\n  ".join(["a" * 9] * 8) + "]", fits)
    stays("tags: [" + ", ".join(["a" * 9] * 7 + ["a" * 13]) + "]  # a comment beside it does not count")
    long = ["a" * 9] * 7 + ["a" * 14]
    becomes(f"tags: [{', '.join(long)}]", "tags:\n" + "\n".join(f"  - {tag}" for tag in long))


def test_a_flow_collection_with_a_comment_in_it_becomes_a_block() -> None:
    becomes(
        """
        tls: {  # trust
          # not the public ones
          systemTrust: false,
          caCertificates: [a.pem, # one
            b.pem
            # no more
          ] # all
        }
        tags: [ # none
        ]
        """,
        """
        tags: []  # none
        tls:  # trust
          caCertificates:  # all
            - a.pem  # one
            - b.pem
            # no more
          # not the public ones
          systemTrust: false
        """,
    )


def test_flow_collections_have_one_spacing() -> None:
    becomes("verify: {  mode :  off,timeout: 1s , }", "verify: {mode: off, timeout: 1s}")


def test_at_most_one_empty_line_is_kept_and_none_at_the_start() -> None:
    becomes(
        """


        url: u


        # transport

        transport: sse
        tls:

          caCertificates:

            - a.pem

            - b.pem


        """,
        """
        url: u

        # transport

        transport: sse
        tls:
          caCertificates:
            - a.pem

            - b.pem
        """,
    )


def test_json_becomes_yaml_of_one_line_for_each_field() -> None:
    text = '{"apiVersion": "reconciler/v1","kind":"Gateway",\n  "spec": {"tags":["a","b"],"url":"u"}}'
    assert formatted(text) == dedent("""\
        "apiVersion": "reconciler/v1"
        "kind": "Gateway"
        "spec": {"url": "u", "tags": ["a", "b"]}
        """)


@pytest.mark.parametrize(
    "value",
    ["plain text", '"in: quotes"', "'it''s'", '"\\t\\u00e9"', "0755", "~", "null", "12:30", "a#b", "größer 😀", "'#'"],
)
def test_a_scalar_on_one_line_is_copied_as_it_stands(value: str) -> None:
    becomes(f"description:    {value}   # why\nurl: u", f"url: u\ndescription: {value}  # why")


def test_texts_over_several_lines_keep_their_lines() -> None:
    becomes(
        """
        description:
              a plain text
           over lines

           and more   # why
        kuadrant:
            hint: "in \\
              quotes

                and more"
            category: ['it''s
             long']
        """,
        """
        description: a plain text
          over lines

          and more  # why
        kuadrant:
          category:
            - 'it''s
              long'
          hint: "in \\
            quotes

            and more"
        """,
    )


def test_block_texts_keep_their_lines_and_what_ends_them() -> None:
    becomes(
        """
        description: >2-
              deeper
            folded

            text
        kuadrant:
                hint: x
                prefix: |4+

                        deep
                      less

        url: u
        """,
        """
        url: u
        description: >2-
              deeper
            folded

            text
        kuadrant:
          prefix: |2+

                deep
              less

          hint: x
        """,
    )


def test_a_text_that_could_not_be_indented_anew_is_written_in_quotes() -> None:
    becomes('description: "ends in a space\\ \n  and goes on"', 'description: "ends in a space  and goes on"')
    becomes("description: |+\n\nurl: u", 'url: u\ndescription: "\\n"')
    becomes('? "two\n    words"\n: 1\nurl: u', 'url: u\n"two words": 1')


def test_explicit_keys_become_plain_ones() -> None:
    becomes("? url # where\n: u", "url: u  # where")
    becomes("verify: {? mode : off, timeout}", "verify: {mode: off, timeout: null}")


def test_lists_of_lists_and_nothing() -> None:
    becomes("x:\n-   - a\n    - # b\n      b\n-\n- {}\n- []", "x:\n  - - a\n    # b\n    - b\n  -\n  - {}\n  - []")


def test_line_ends_become_those_of_unix_and_the_byte_order_mark_goes() -> None:
    text = "apiVersion: reconciler/v1\nkind: Gateway\nspec:\n  description: |\n    two\n    lines\n"
    assert formatted("\ufeff" + text.replace("\n", "\r\n")) == text
    assert formatted(text + "\n\n") == text
    assert formatted("apiVersion: reconciler/v1\rkind: Gateway") == "apiVersion: reconciler/v1\nkind: Gateway\n"


def test_documents_stay_apart_with_what_stands_between_them() -> None:
    before = """\
        # licence
        ---   # first
        kind: Gateway
        apiVersion: reconciler/v1
        # end of the first
        ...
        # before the second
        ---
        # above the second
        kind: Defaults
        apiVersion: reconciler/v1


        """
    after = """\
        # licence
        ---  # first
        apiVersion: reconciler/v1
        kind: Gateway
        # end of the first
        # before the second
        ---
        # above the second
        apiVersion: reconciler/v1
        kind: Defaults
        """
    assert formatted(dedent(before)) == dedent(after)


def test_documents_of_others_are_copied_between_ours() -> None:
    foreign = "---\nkind:   ConfigMap\napiVersion:  v1\n\n\ndata:   {a:   1}   # ours\n"
    ours = "kind: Gateway\napiVersion: reconciler/v1\n"
    laid_out = "apiVersion: reconciler/v1\nkind: Gateway\n"
    assert formatted(f"{ours}{foreign}---\n{ours}{foreign}") == f"{laid_out}{foreign}---\n{laid_out}{foreign}"


@pytest.mark.parametrize(
    "text",
    [
        "kind:   ConfigMap\r\napiVersion:   v1",
        "\ufeffkind:   Gateway\napiVersion:   gateway.networking.k8s.io/v1\n\n\n",
        "kind:   Gatway\napiVersion:   reconciler/v1",
        "kind: [Gateway]\napiVersion:   reconciler/v1",
        "- a\n-   b",
        "# nothing\n\n\n",
        "",
    ],
)
def test_files_without_a_manifest_of_ours_are_left_byte_for_byte(text: str) -> None:
    assert format_manifests("a.yaml", text.encode(), ORDERS).data == text.encode()


@pytest.mark.parametrize(
    "text",
    [
        "a: [",
        "a: *b",
        "a: 1\na: 2",
        "a: !!str 1",
        "\ta: 1",
        "kind: Gateway\napiVersion: reconciler/v1\n---\nx: &a 1",
    ],
)
def test_files_with_problems_are_left_byte_for_byte(text: str) -> None:
    found = format_manifests("a.yaml", text.encode(), ORDERS)
    assert found.data == text.encode()
    assert found.problems == read_yaml("a.yaml", text.encode()).problems != ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("%YAML 1.2\n---\nkind: Gateway\napiVersion: reconciler/v1\n", "directive"),
        ("kind: Gateway\napiVersion: reconciler/v1\na: 'b\u2028c'\n", "U\\+2028"),
        ("kind: Gateway\napiVersion: reconciler/v1\n? " + "k" * 1100 + "\n: 1\n", "change what this says"),
    ],
)
def test_what_formatting_could_not_keep_is_left_and_said(text: str, message: str) -> None:
    found = format_manifests("a.yaml", text.encode(), ORDERS)
    assert found.data == text.encode()
    assert [problem.code for problem in found.problems] == [NOT_FORMATTABLE.code]
    assert re.search(message, found.problems[0].message)


EXAMPLES: Final = sorted(ROOT.glob("examples/**/*.yaml"))
EVERY_FILE: Final = [*EXAMPLES, *sorted(ROOT.glob("tests/examples/**/*.yaml"))]


def test_the_examples_for_users_have_the_canonical_layout() -> None:
    assert len(EXAMPLES) > 5
    for file in EXAMPLES:
        assert formatted(file.read_text()) == file.read_text(), file


def test_every_example_keeps_its_meaning_good_or_bad() -> None:
    assert len(EVERY_FILE) > 100
    for file in EVERY_FILE:
        before = file.read_bytes()
        after = format_manifests(file.name, before, ORDERS)
        assert format_manifests(file.name, after.data, ORDERS).data == after.data, file
        assert after.problems == read_yaml(file.name, before).problems, file
        assert values(after.data) == values(before), file


def values(data: bytes) -> str:
    return json.dumps([document.value for document in read_yaml("", data).documents], sort_keys=True)
