"""systemd unit files, as systemd reads them."""

import pytest

from relight.inspection.unit_file import read_environment, read_unit


def commands_of(*lines: str) -> list[list[str]]:
    return read_unit(["\n".join(("[Service]", *lines))]).commands("ExecStart")


def test_keys_are_of_their_section_and_repeated_sections_go_on() -> None:
    text = "[Unit]\nAfter=a.service\n[Service]\nType=notify\n[Unit]\nAfter = b.service c.service\n"
    unit = read_unit([text])
    assert unit.words("Unit", "After") == ["a.service", "b.service", "c.service"]
    assert (unit.last("Service", "Type"), unit.last("Unit", "Type", "none")) == ("notify", "none")


def test_comments_and_empty_lines_are_passed_over() -> None:
    text = "# [Service]\n; Type=a\n\n[Service]\n  # Type=b\nType=exec\nno assignment\n"
    assert read_unit([text]).values == {("Service", "Type"): ("exec",)}


def test_a_line_goes_on_after_a_backslash_also_past_comments() -> None:
    lines = ("ExecStart=/usr/sbin/box \\", "  -a :6081 \\", "# not this \\", "; nor this", "  -b")
    assert commands_of(*lines) == [["/usr/sbin/box", "-a", ":6081", "-b"]]


def test_an_empty_value_takes_back_those_before_it() -> None:
    drop_in = "[Service]\nExecStart=\nExecStart=/usr/bin/box --new\n"
    unit = read_unit(["[Service]\nExecStart=/usr/bin/box\nEnvironment=A=1\n", drop_in])
    assert unit.commands("ExecStart") == [["/usr/bin/box", "--new"]]
    assert unit.all("Service", "Environment") == ("A=1",)


@pytest.mark.parametrize(
    ("line", "command"),
    [
        ("-/usr/bin/box a", ["/usr/bin/box", "a"]),
        ("+!/usr/bin/box", ["/usr/bin/box"]),
        ("@/usr/bin/box its-name a", ["/usr/bin/box", "a"]),
        ("-@/usr/bin/box its-name", ["/usr/bin/box"]),
        ("/usr/bin/box 'a b' \"c\"", ["/usr/bin/box", "a b", "c"]),
        ("/usr/bin/box 'a b", ["/usr/bin/box", "'a", "b"]),
    ],
)
def test_a_command_has_neither_prefixes_nor_quotes(line: str, command: list[str]) -> None:
    assert commands_of(f"ExecStart={line}") == [command]


def test_a_oneshot_may_have_several_commands_in_a_line() -> None:
    assert commands_of("ExecStart=/bin/a 1 ; /bin/b", "ExecStart=/bin/c") == [
        ["/bin/a", "1"],
        ["/bin/b"],
        ["/bin/c"],
    ]


def test_an_environment_file_has_variables_and_comments() -> None:
    text = "# A=0\nA=1\nB=\"two words\"\nexport C='3'\nD=\nno assignment\n"
    assert read_environment(text) == {"A": "1", "B": "two words", "C": "3", "D": ""}
