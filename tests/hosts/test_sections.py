"""Several answers in one, really given by a shell."""

import subprocess
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relight.hosts.commands import (
    Section,
    ask,
    parse,
)
from relight.hosts.errors import UnreadableAnswerError


def answers(questions: Mapping[str, Sequence[str]]) -> dict[str, Section]:
    ended = subprocess.run(ask(questions), capture_output=True, check=True)
    return parse(ended.stdout.decode(errors="replace"), list(questions))


def test_each_question_has_its_answer_and_exit_code() -> None:
    found = answers(
        {
            "good": ["echo", "yes"],
            "bad": ["sh", "-c", "echo no >&2; exit 3"],
            "missing": ["/no/such/program"],
            "killed": ["sh", "-c", "kill -9 $$"],
            "silent": ["true"],
        }
    )
    assert found["good"] == Section("yes", 0)
    assert found["bad"] == Section("no", 3)
    assert "/no/such/program: not found" in found["missing"].text
    assert [section.exit_code for section in found.values()] == [0, 3, 127, 137, 0]
    assert found["silent"].text == ""


@pytest.mark.parametrize(
    "text",
    [
        "no final newline",
        "some final newlines\n\n\n",
        "\n\nsome newlines before",
        "between\n\n\nsome newlines",
        "next 0",
        "said 0\nnext 0\n",
        " next 0",
        "\x0bnext 1\x0c next 1\x1cnext 1\u2028next 1\x85next 1",
        "\rnext 1\r",
        "\\n \\t %s %d %% $code `code` $(code) 'quoted\" \\",
        "-n",
        "a\ttab and  two spaces ",
        "ünïcödé",
    ],
)
def test_no_answer_passes_for_another(text: str) -> None:
    found = answers({"said": ["printf", "%s", text], "next": ["sh", "-c", "exit 7"]})
    assert found == {"said": Section(text.strip("\n"), 0), "next": Section("", 7)}


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
@settings(max_examples=50, deadline=None)
def test_any_text_comes_back_as_it_was(text: str) -> None:
    found = answers({"said": ["printf", "%s", text], "next": ["true"]})
    assert found["said"] == Section(text.strip("\n"), 0)


def test_bytes_that_are_no_text_do_no_harm() -> None:
    found = answers({"said": ["printf", r"a\000b\377\nnext 0\n"], "next": ["false"]})
    assert found == {"said": Section("ab\ufffd\nnext 0", 0), "next": Section("", 1)}


def test_a_question_that_reads_gets_nothing_and_takes_nothing_from_the_next() -> None:
    found = answers({"reads": ["cat"], "next": ["echo", "here"]})
    assert found == {"reads": Section("", 0), "next": Section("here", 0)}


def test_a_question_with_hostile_arguments_is_one_question() -> None:
    text = '\'; exit 9; echo "$HOME" `id` $(id) \\ \n *'
    assert answers({"said": ["printf", "%s", text]})["said"].text == text


def test_what_a_login_shell_says_before_is_overlooked() -> None:
    assert parse("Welcome!\n yes\ngood 0\n", ["good"]) == {"good": Section("yes", 0)}


@pytest.mark.parametrize("text", ["", "good 0", " no\nbad 1\n", " yes\ngood\n", " yes\ngood x\n"])
def test_an_answer_that_is_missing_is_an_error(text: str) -> None:
    with pytest.raises(UnreadableAnswerError, match="no answer to"):
        parse(text, ["good", "bad"])


def test_an_answer_that_there_may_be_is_read_where_it_is_and_not_missed_where_it_is_not() -> None:
    good = {"good": Section("yes", 0)}
    assert parse(" yes\ngood 0\n", ["good"], ["more"]) == good
    more = {"more": Section("no", 1)}
    assert parse(" no\nmore 1\n yes\ngood 0\n", ["good"], ["more"]) == more | good
    assert parse(" no\nmore x\n yes\ngood 0\n", ["good"], ["more"])["good"].text == "no\nyes"


def test_a_name_that_could_not_be_told_from_its_exit_code_is_refused() -> None:
    with pytest.raises(ValueError, match="'dpkg log' could not be told apart"):
        ask({"dpkg log": ["true"]})
