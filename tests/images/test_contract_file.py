"""A contract is read from its file, and each part knows its line."""

import pytest

from relight.images.contract_file import (
    MAX_CONTRACT_BYTES,
    ContractError,
    parse_contract,
    read_contract,
)

SMALL = """\
packages: [tzdata]
files:
  - path: /etc/service/token
    mode: "0600"
"""


def refused(text: str) -> str:
    with pytest.raises(ContractError) as caught:
        parse_contract(text.encode(), "mine.yaml")
    return str(caught.value)


def test_a_part_knows_its_line():
    file = parse_contract(SMALL.encode(), "mine.yaml")
    assert file.line("packages", 0) == 1
    assert file.line("files", 0, "path") == 3
    assert file.line("files", 0, "mode") == 4


def test_a_part_by_default_has_the_line_of_what_holds_it():
    file = parse_contract(SMALL.encode(), "mine.yaml")
    assert file.line("files", 0, "owner") == 3


def test_comments_and_defaults_that_are_written_out_leave_the_digest():
    written_out = f"# Of mine.\n{SMALL}    owner: root:root\n"
    one, other = (parse_contract(text.encode(), "mine.yaml") for text in (SMALL, written_out))
    assert one.sha256 == other.sha256


def test_another_content_is_another_digest():
    other = parse_contract(SMALL.replace("0600", "0640").encode(), "mine.yaml")
    assert other.sha256 != parse_contract(SMALL.encode(), "mine.yaml").sha256


def test_the_default_is_that_of_lantern_box():
    file = read_contract()
    assert "wireguard-tools" in file.contract.packages
    assert "lantern-box" in file.contract.absent_until_first_boot.packages
    assert file.name == "contract.yaml"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"{SMALL}    modes: x\n", "mine.yaml:5 files.0.modes: Extra inputs are not permitted"),
        (SMALL.replace('"0600"', "0600"), "mine.yaml:4 files.0.mode: write it in quotes"),
        (
            SMALL.replace("/etc/service", "/etc/../root"),
            "mine.yaml:3 files.0.path: it has an empty",
        ),
        (SMALL.replace("/etc/service/token", "etc/token"), "mine.yaml:3 files.0.path"),
        (f'{SMALL}    content: ""\n    sha256: {"a" * 64}\n', "both `content` and `sha256`"),
        (f"{SMALL}packages: [netbase]\n", "mine.yaml:5: packages is there twice"),
        ("packages: [a b]\n", "mine.yaml:1 packages.0"),
        ("packages: []\n", "mine.yaml:1 packages"),
        ("users: []\n", "mine.yaml:1 packages: Field required"),
        ("packages: &all [tzdata]\nmasked: *all\n", "mine.yaml has an alias"),
        ("packages: [tzdata\n", "mine.yaml: while parsing a flow sequence"),
        ("? [a]\n: b\n", "mine.yaml:1: a key is no text"),
        ("packages: 2026-99-99\n", "mine.yaml: month must be in 1..12"),
        ("- tzdata\n", "it has no sections"),
        ("", "it has no sections"),
        ("packages: [tzdata]\nabsent: {paths: [/*]}\n", "mine.yaml:2 absent.paths.0"),
        ("packages: [tzdata]\nabsent: {paths: [/etc/../x]}\n", "absent.paths.0: it has an empty"),
        ("packages: [tzdata]\nabsent: {paths: [/home/.*/x]}\n", "also matches `..`"),
        ("packages: [tzdata]\nabsent: {paths: [/tmp/.*]}\n", "also matches `..`"),
        ("packages: [tzdata]\nabsent: {paths: [/tmp/..*]}\n", "also matches `..`"),
        ("packages: [tzdata]\nabsent: {paths: [/tmp/.*.]}\n", "also matches `..`"),
        ('packages: [tzdata]\nabsent: {paths: ["/tmp/a b"]}\n', "mine.yaml:2 absent.paths.0"),
        ('packages: [tzdata]\nabsent: {paths: ["/tmp/a\\n"]}\n', "mine.yaml:2 absent.paths.0"),
        ("packages: [tzdata]\ndirectories: [{path: /srv/..}]\n", "it has an empty"),
        ("packages: [tzdata]\nmasked: [apt-daily]\n", "mine.yaml:2 masked.0"),
        ("packages: [tzdata]\nsysctls: {net.x: 'a\nb|c'}\n", "mine.yaml:2 sysctls.net.x"),
        ("packages: [tzdata]\ncertificates: [{name: ca, sha256: '0'}]\n", "mine.yaml:2"),
        ("[" * 2000, "mine.yaml: "),
    ],
)
def test_what_is_no_contract_is_refused_with_its_line(text: str, words: str):
    assert words in refused(text)


def test_a_file_that_is_not_there_or_too_long_is_refused(tmp_path):
    with pytest.raises(ContractError, match="No such file"):
        read_contract(tmp_path / "none.yaml")
    long = tmp_path / "long.yaml"
    long.write_text(SMALL + "#" * MAX_CONTRACT_BYTES)
    with pytest.raises(ContractError, match="has more than"):
        read_contract(long)
