"""What sudo says."""

import pytest

from relight.hosts.commands import missing, refusal


@pytest.mark.parametrize(
    "line",
    [
        "sudo: a password is required",
        "sudo: no valid sudoers sources found, quitting",
        "sudo: /usr/bin/sudo must be owned by uid 0 and have the setuid bit set",
        "relight is not in the sudoers file.",
        "sh: 1: sudo: not found",
        "sh: 1: sudo: Permission denied",
        "bash: line 1: sudo: command not found",
        "bash: line 1: /usr/bin/sudo: Permission denied",
        "Sorry, user relight is not allowed to execute '/bin/true' as root on de-1.",
    ],
)
def test_a_refusal_is_known_by_its_words_whatever_stands_before(line: str) -> None:
    assert refusal(f"sudo: unable to resolve host de-1\n{line}\n") == line


@pytest.mark.parametrize(
    "said",
    [
        "",
        "sudo: unable to resolve host de-1: no name\nE: failed\n",
        "/usr/local/sbin/relight-host: 1: curl: not found\n",
    ],
)
def test_a_command_that_ran_and_failed_was_not_refused(said: str) -> None:
    assert refusal(said) is None


def test_a_command_that_is_not_there_is_told_from_one_that_is_refused() -> None:
    line = "sudo: /usr/local/sbin/relight-host: command not found"
    said = f"sudo: unable to resolve host de-1\n{line}\n"
    assert (missing(said), refusal(said)) == (line, None)


@pytest.mark.parametrize(
    "said", ["", "/bin/sh: 1: apt-get: not found\n", "sudo: a password is required\n"]
)
def test_a_command_that_misses_another_one_was_there(said: str) -> None:
    assert missing(said) is None
