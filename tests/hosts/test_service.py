"""What the daemon's service has to say."""

import pytest

from relight.hosts.errors import (
    TAIL_LINES,
    HostProgramMissingError,
    SudoRefusedError,
)
from relight.hosts.observation import journal
from tests.support.memory_shell import MemoryHost


async def test_the_daemons_last_lines_are_asked_for_as_root_the_oldest_first() -> None:
    host = MemoryHost(journal=["cannot bind", "exiting"])
    assert await journal(host) == ("cannot bind", "exiting")
    assert host.ran == [f"relight-host journal {TAIL_LINES}"]
    assert host.as_root == set(host.ran)


async def test_a_daemon_that_says_nothing_has_no_lines() -> None:
    assert await journal(MemoryHost()) == ()


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("sudo: a password is required", SudoRefusedError),
        ("sudo: /usr/local/sbin/relight-host: command not found", HostProgramMissingError),
    ],
)
async def test_a_host_that_does_not_run_the_program_for_us_says_so(
    line: str, kind: type[Exception]
) -> None:
    host = MemoryHost(answers={"relight-host": (1, "", f"{line}\n")})
    with pytest.raises(kind, match=line):
        await journal(host)
