"""`relight-host serve`: when systemd reloads its unit files."""

import pytest

from tests.hosts.conftest import UNIT_FILE, ServingHost
from tests.support.apt_root import UNIT
from tests.support.memory_shell import running

RELOAD, RESTART = "systemctl daemon-reload", f"systemctl restart -- {UNIT}"


def test_unit_files_are_loaded_after_the_first_installation(serving: ServingHost) -> None:
    assert serving.swap("1.0") == [RELOAD, RESTART]


def test_unchanged_unit_files_are_not_reloaded(serving: ServingHost) -> None:
    serving.start_at("1.0")
    assert serving.swap("1.1") == [RESTART]
    assert serving.swap("1.1") == [RESTART]


def test_unit_files_are_reloaded_if_systemd_needs_it(serving: ServingHost) -> None:
    """As after somebody added a drop-in on the host."""
    serving.start_at("1.0")
    serving.systemd.set(UNIT, running(), need_reload=True)
    assert serving.swap("1.1") == [RELOAD, RESTART]


def test_the_same_file_with_a_newer_time_is_not_reloaded_even_if_systemd_asks_for_it(
    serving: ServingHost,
) -> None:
    serving.start_at("1.0")
    serving.install("1.1")
    serving.systemd.set(UNIT, running(), need_reload=True)
    assert serving.serve() == [RESTART]


@pytest.mark.parametrize("folder", ["etc", "run"])
def test_a_drop_in_that_was_added_during_a_change_is_loaded(
    serving: ServingHost, folder: str
) -> None:
    serving.start_at("1.0")
    serving.install("1.1")
    drop_in = serving.host.root / folder / "systemd/system" / f"{UNIT}.d" / "own.conf"
    drop_in.parent.mkdir(parents=True)
    drop_in.write_text("[Service]\nRestartSec=9\n")
    assert serving.serve() == [RELOAD, RESTART]


def test_unit_files_are_reloaded_if_systemd_does_not_say_what_it_loaded(
    serving: ServingHost,
) -> None:
    serving.start_at("1.0")
    serving.systemd.fail("show", "Failed to connect to bus: No such file or directory\n")
    serving.install("1.1")
    serving.systemd.mend("show")
    assert serving.serve() == [RELOAD, RESTART]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("1.0", "2.0"),  # changed
        ("2.0", "2.1"),  # a drop-in was added
        ("2.1", "2.2"),  # the drop-in changed
        ("2.1", "2.0"),  # the drop-in was removed
        ("2.0", "3.0"),  # in another folder
        ("3.0", "3.1"),
        ("4.0", "4.1"),
        ("5.0", "5.1"),  # a name that a shell could misread
        ("2.0", "6.0"),  # all were removed
    ],
)
def test_a_change_of_unit_files_is_loaded(serving: ServingHost, old: str, new: str) -> None:
    serving.start_at(old)
    assert serving.swap(new) == [RELOAD, RESTART]


def test_files_in_another_folder_with_a_similar_name_are_not_unit_files(
    serving: ServingHost,
) -> None:
    serving.start_at("6.0")
    assert serving.swap("6.1") == [RESTART]


def test_the_empty_record_of_a_first_boot_says_nothing(serving: ServingHost) -> None:
    """Also where no unit file is known, as of a script in /etc/init.d."""
    serving.start_at("6.0")
    serving.host.loaded.touch()
    assert serving.swap("6.1") == [RELOAD, RESTART]


def test_an_older_file_is_loaded_although_systemd_sees_no_need(serving: ServingHost) -> None:
    unit_file = serving.host.root / UNIT_FILE.lstrip("/")
    serving.start_at("2.0")
    new = unit_file.stat().st_mtime
    assert serving.swap("1.0") == [RELOAD, RESTART]
    assert unit_file.stat().st_mtime <= new


@pytest.mark.parametrize("then", ["2.0", "2.1", "1.1"])
def test_unit_files_are_reloaded_after_an_unfinished_change(
    serving: ServingHost, then: str
) -> None:
    """It was killed after unpacking: what systemd has loaded since then is unknown."""
    serving.start_at("1.0")
    serving.install("2.0")
    assert serving.swap(then) == [RELOAD, RESTART]
    assert serving.swap(then) == [RESTART]


def test_a_change_that_failed_before_unpacking_needs_no_reload(serving: ServingHost) -> None:
    serving.start_at("1.0")
    serving.host.hold("lantern-box")
    with pytest.raises(AssertionError, match="Held packages"):
        serving.install("2.0")
    assert serving.serve() == [RESTART]


def test_unit_files_are_reloaded_if_there_is_no_record(serving: ServingHost) -> None:
    """A reboot deletes the record, and `serve` may be called without a change before."""
    serving.install("1.0")
    serving.host.loaded.unlink()
    assert serving.serve() == [RELOAD, RESTART]
    assert serving.serve() == [RELOAD, RESTART]


def test_unit_files_are_reloaded_if_the_record_is_incomplete(serving: ServingHost) -> None:
    serving.start_at("1.0")
    serving.install("1.1")
    serving.host.loaded.write_text("")
    assert serving.serve() == [RELOAD, RESTART]


@pytest.mark.parametrize(
    ("command", "text", "commands"),
    [
        ("show", "Message recipient disconnected from message bus", [RELOAD, RESTART]),
        ("daemon-reload", "Transport endpoint is not connected", [RELOAD, RELOAD, RESTART]),
        ("restart", "Connection reset by peer", [RELOAD, RESTART, RESTART]),
    ],
)
def test_a_command_is_retried_if_systemd_re_executes_itself(
    serving: ServingHost, command: str, text: str, commands: list[str]
) -> None:
    serving.install("1.0")
    serving.host.loaded.unlink()
    serving.systemd.fail(command, f"{text}\n", once=True)
    assert serving.serve() == commands


def test_a_failed_reload_is_repeated_by_the_next_call(serving: ServingHost) -> None:
    serving.start_at("1.0")
    serving.install("2.0")
    serving.systemd.fail("daemon-reload", "Failed to reload daemon: Connection timed out\n")
    serving.systemd.calls()
    assert serving.serve_fails().splitlines() == [
        "Failed to reload daemon: Connection timed out",
        "relight: systemd did not reload its unit files",
    ]
    assert serving.systemd.effects() == [RELOAD]
    serving.systemd.mend("daemon-reload")
    assert serving.serve() == [RELOAD, RESTART]


def test_a_systemd_that_does_not_answer_is_an_error(serving: ServingHost) -> None:
    serving.start_at("1.0")
    serving.install("1.1")
    serving.systemd.fail("show", "Failed to connect to bus: No such file or directory\n")
    serving.systemd.calls()
    ended = serving.host.call("serve")
    assert ended.returncode == 75
    assert ended.stderr.splitlines() == [
        "Failed to connect to bus: No such file or directory",
        "relight: systemd does not answer",
    ]
    assert serving.systemd.effects() == []
    serving.systemd.mend("show")
    assert serving.serve() == [RELOAD, RESTART]
