"""Sudo, and several questions in one exec, answered by a real shell."""

import subprocess
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relight.hosts.errors import UnreadableAnswerError
from relight.hosts.questions import Section, parse_sections, questions_command
from relight.hosts.shell import missing_command, sudo_refusal


def answers(questions: Mapping[str, Sequence[str]]) -> dict[str, Section]:
    ended = subprocess.run(questions_command(questions), capture_output=True, check=True)
    return parse_sections(ended.stdout.decode(errors="replace"), list(questions))


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
        "first 0\nnext 0\n",
        " next 0",
        "\x0bnext 1\x0c next 1\x1cnext 1\u2028next 1\x85next 1",
        "\rnext 1\r",
        "\\n \\t %s %d %% $code `code` $(code) 'quoted\" \\",
        "-n",
        "a\ttab and  two spaces ",
        "ünïcödé",
    ],
)
def test_an_answer_cannot_look_like_another(text: str) -> None:
    found = answers({"first": ["printf", "%s", text], "next": ["sh", "-c", "exit 7"]})
    assert found == {"first": Section(text.strip("\n"), 0), "next": Section("", 7)}


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
@settings(max_examples=50, deadline=None)
def test_any_text_is_returned_unchanged(text: str) -> None:
    found = answers({"first": ["printf", "%s", text], "next": ["true"]})
    assert found["first"] == Section(text.strip("\n"), 0)


def test_invalid_utf8_is_replaced() -> None:
    found = answers({"first": ["printf", r"a\000b\377\nnext 0\n"], "next": ["false"]})
    assert found == {"first": Section("ab\ufffd\nnext 0", 0), "next": Section("", 1)}


def test_a_command_that_reads_standard_input_gets_none() -> None:
    found = answers({"reads": ["cat"], "next": ["echo", "here"]})
    assert found == {"reads": Section("", 0), "next": Section("here", 0)}


def test_hostile_arguments_are_quoted() -> None:
    text = '\'; exit 9; echo "$HOME" `id` $(id) \\ \n *'
    assert answers({"first": ["printf", "%s", text]})["first"].text == text


def test_output_of_the_login_shell_is_ignored() -> None:
    assert parse_sections("Welcome!\n yes\ngood 0\n", ["good"]) == {"good": Section("yes", 0)}


@pytest.mark.parametrize("text", ["", "good 0", " no\nbad 1\n", " yes\ngood\n", " yes\ngood x\n"])
def test_a_missing_answer_is_an_error(text: str) -> None:
    with pytest.raises(UnreadableAnswerError, match="no answer to"):
        parse_sections(text, ["good", "bad"])


def test_an_optional_answer_may_be_missing() -> None:
    good = {"good": Section("yes", 0)}
    assert parse_sections(" yes\ngood 0\n", ["good"], ["more"]) == good
    more = {"more": Section("no", 1)}
    assert parse_sections(" no\nmore 1\n yes\ngood 0\n", ["good"], ["more"]) == more | good
    unnamed = parse_sections(" no\nmore x\n yes\ngood 0\n", ["good"], ["more"])
    assert unnamed["good"].text == "no\nyes"


def test_a_name_with_a_blank_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot contain a blank: 'dpkg log'"):
        questions_command({"dpkg log": ["true"]})


@pytest.mark.parametrize(
    "line",
    [
        "sudo: a password is required",
        "sudo: no valid sudoers sources found, quitting",
        "sudo: /usr/bin/sudo must be owned by uid 0 and have the setuid bit set",
        "relight is not in the sudoers file.",
        "env: 'sudo': No such file or directory",
        "env: \u2018sudo\u2019: Datei oder Verzeichnis nicht gefunden",
        "env: \u2018sudo\u2019: Permission denied",
        "sudo: sorry, you must have a tty to run sudo",
        "sudo: interactive authentication is required",
        "sudo-rs: interactive authentication is required",
        "sudo: I'm sorry relight. I'm afraid I can't do that",
        "Sorry, user relight is not allowed to execute '/bin/true' as root on de-1.",
    ],
)
def test_a_refusal_is_found_after_other_lines(line: str) -> None:
    assert sudo_refusal(f"sudo: unable to resolve host de-1\n{line}\n") == line


@pytest.mark.parametrize(
    "stderr",
    [
        "",
        "sudo: unable to resolve host de-1: no name\nE: failed\n",
        "/usr/local/sbin/relight-host: 1: curl: not found\n",
    ],
)
def test_a_command_that_failed_was_not_refused(stderr: str) -> None:
    assert sudo_refusal(stderr) is None


def test_a_missing_command_is_not_a_refusal() -> None:
    line = "sudo: /usr/local/sbin/relight-host: command not found"
    stderr = f"sudo: unable to resolve host de-1\n{line}\n"
    assert (missing_command(stderr), sudo_refusal(stderr)) == (line, None)


@pytest.mark.parametrize(
    "stderr", ["", "/bin/sh: 1: apt-get: not found\n", "sudo: a password is required\n"]
)
def test_a_command_that_lacks_another_command_is_not_missing(stderr: str) -> None:
    assert missing_command(stderr) is None
