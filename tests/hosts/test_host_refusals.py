"""What `relight-host` does not do, whoever asks."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.apt_root import AptRoot

UNIT, SHA256 = "relight-install.service", "0" * 64
URLS = "https://github.com/lantern/box/releases/download/"
URL = f"{URLS}v0.0.74/x.deb"
DEB = (URL, SHA256, "7", "amd64")

words = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> AptRoot:
    """A host on which each program says that it ran, which none may."""
    host = AptRoot(tmp_path_factory.mktemp("refusing") / "host")
    host.configure(URLS)
    for name in (
        *("apt-get", "apt-cache", "dpkg", "dpkg-query", "curl", "mktemp", "mkdir", "rm", "cat"),
        *("systemctl", "systemd-run", "journalctl", "tail", "timeout", "sha256sum", "id"),
    ):
        host.put_program(name, f'echo "{name} ran: $*" >>{host.root}/ran')
    return host


def refused(host: AptRoot, *call: str) -> str:
    before = host.files()
    ended = host.call(*call)
    assert (ended.returncode, ended.stdout) == (64, "")
    assert ended.stderr.startswith("relight-host: ")
    assert host.files() == before
    return ended.stderr


VERSIONS = [
    *("", "-o", "--reinstall", "1;reboot", "1 2", "1\n2", "1/2", "1=2", "a1", ".1", "~1", "1$(id)"),
    *("1`id`", "1*", "1&", "1|id", "1_2", "é", "1é", "1\t", " 1", "1'", "$HOME", "+1", ":1"),
]
UNITS = [
    *("", "ssh.service", "relight-install", "relight-x.timer", "relight-.service.d", "-relight"),
    *("relight-a b.service", "relight-a;b.service", "relight-A.service", "relight-é.service"),
    *("relight-*.service", "relight-a/b.service", "relight-a@b.service", "relight-a\nb.service"),
    *("--relight-a.service", "xrelight-a.service", "relight-a.service ", "relight-a_b.service"),
]


@pytest.mark.parametrize("verb", ["install", "change", "swap"])
@pytest.mark.parametrize("version", VERSIONS)
def test_what_is_no_version_changes_nothing(host: AptRoot, verb: str, version: str) -> None:
    before = [UNIT, "5"] if verb == "swap" else []
    assert "not a version" in refused(host, verb, *before, version, "upgrade")
    assert "not a version" in refused(host, verb, *before, version, "upgrade", *DEB)


@pytest.mark.parametrize("unit", UNITS)
def test_what_is_no_change_of_ours_is_left_alone(host: AptRoot, unit: str) -> None:
    for call in (["swap", unit, "5", "1", "upgrade"], ["see", unit, "5"]):
        assert "not a change of ours" in refused(host, *call)
    for verb in ("said", "forget"):
        assert "not a change of ours" in refused(host, verb, unit)


@pytest.mark.parametrize(
    "number", ["", "-1", "1.5", "1s", "five", " 5", "5 ", "5\n", "$((1))", "٣"]
)
def test_what_is_no_number_is_refused(host: AptRoot, number: str) -> None:
    for call in (
        ["swap", UNIT, number, "1", "upgrade"],
        ["see", UNIT, number],
        ["journal", number],
        ["install", "1", "upgrade", URL, SHA256, number, "amd64"],
    ):
        assert "not a number" in refused(host, *call)


@pytest.mark.parametrize("leave", ["", "downgrade", "--allow-downgrades", "upgrade rollback"])
def test_one_goes_up_or_back(host: AptRoot, leave: str) -> None:
    assert "neither upgrade nor rollback" in refused(host, "install", "1", leave)


@pytest.mark.parametrize(
    "url",
    [
        "",
        URLS[:-1],
        "https://github.com/somebody/box/releases/download/v1/x.deb",
        f"http{URLS[5:]}x.deb",
        f"HTTPS{URLS[5:]}x.deb",
        "https://github.com@evil.example/x.deb",
        "file:///etc/shadow",
        f" {URL}",
        f"-K/etc/shadow {URL}",
        f"{URLS}../../../../evil/x.deb",
        f"{URLS}v1/..%2fx.deb",
        f"{URLS}%2e%2e/x.deb",
        f"{URLS}%2E./x.deb",
        f"{URLS}.%2e/x.deb",
        f"{URLS}a b.deb",
        f"{URLS}a\tb.deb",
        f"{URLS}a\nb.deb",
        f"{URLS}a\n",
        f"{URLS}ü.deb",
        f"{URLS}a\x7f.deb",
        f"{URLS}${{HOME}}.deb",  # systemd would put something else in its place
        f"{URLS}$$.deb",
    ],
)
def test_no_package_comes_from_elsewhere(host: AptRoot, url: str) -> None:
    said = refused(host, "install", "1", "upgrade", url, *DEB[1:])
    assert "not an address" in said or "packages come from" in said
    refused(host, "swap", UNIT, "5", "1", "upgrade", url, *DEB[1:])


def test_an_address_is_no_pattern(tmp_path: Path) -> None:
    host = AptRoot(tmp_path / "host")
    host.configure("https://*.example/")
    refused(host, "install", "1", "upgrade", "https://evil.example/x.deb", *DEB[1:])


def test_a_host_that_asks_apt_fetches_no_file(tmp_path: Path) -> None:
    host = AptRoot(tmp_path / "host")
    host.configure()
    assert "fetches no packages" in refused(host, "install", "1", "upgrade", *DEB)
    assert "fetches no packages" in refused(host, "swap", UNIT, "5", "1", "upgrade", *DEB)


@pytest.mark.parametrize(
    "sha256",
    ["", "0" * 63, "0" * 65, "A" * 64, "g" * 64, "0" * 63 + " ", "0" * 63 + "\n", "é" * 32],
)
def test_a_digest_has_its_length_and_its_letters(host: AptRoot, sha256: str) -> None:
    assert "not a SHA-256" in refused(host, "install", "1", "upgrade", URL, sha256, *DEB[2:])


@pytest.mark.parametrize("architecture", ["", "a/b", "AMD64", "amd64;id", "amd 64", "../x", "é"])
def test_an_architecture_has_its_letters(host: AptRoot, architecture: str) -> None:
    call = ["install", "1", "upgrade", URL, SHA256, "7", architecture]
    assert "not an architecture" in refused(host, *call)


@pytest.mark.parametrize(
    "call",
    [
        [],
        [""],
        ["", "see"],
        ["help"],
        ["--help"],
        ["*"],
        ["see:0"],
        ["swap"],
        ["swap", UNIT, "5", "1"],
        ["swap", UNIT, "5", "1", "upgrade", *DEB[:-1]],
        ["swap", UNIT, "5", "1", "upgrade", *DEB, "more"],
        ["see", UNIT],
        ["see", UNIT, "5", "more"],
        ["said"],
        ["said", UNIT, "more"],
        ["forget", UNIT, "ssh.service"],
        ["journal"],
        ["journal", "5", "--unit=ssh"],
        ["step"],
        ["step", "../../../etc/shadow"],
        ["step", ""],
        ["step", "install", "more"],
        ["install"],
        ["install", "1"],
        ["install", "1", "upgrade", URL],
        ["install", "1", "upgrade", *DEB, "more"],
        ["change", "1", "upgrade", "more"],
        ["serve", "ssh.service"],
        ["sh", "-c", "id"],
    ],
)
def test_a_call_that_makes_no_sense_does_nothing(host: AptRoot, call: list[str]) -> None:
    refused(host, *call)


@given(words.filter(lambda word: not word.isascii() or not word[:1].isdigit()))
@settings(max_examples=60, deadline=None)
def test_no_version_begins_with_anything_but_a_digit(host: AptRoot, word: str) -> None:
    refused(host, "install", word, "upgrade")


@given(words.filter(lambda word: set(word) - set("abcdefghijklmnopqrstuvwxyz0123456789.-")))
@settings(max_examples=60, deadline=None)
def test_no_unit_has_any_but_plain_letters(host: AptRoot, word: str) -> None:
    refused(host, "forget", f"relight-{word}.service")


@given(words.filter(lambda word: not all("!" <= letter <= "~" for letter in word)))
@settings(max_examples=60, deadline=None)
def test_no_address_has_any_but_printable_letters(host: AptRoot, word: str) -> None:
    refused(host, "install", "1", "upgrade", f"{URLS}{word}", *DEB[1:])


VERBS = {"swap", "see", "said", "forget", "journal", "step", "change", "install", "serve"}


@given(words.filter(lambda word: word.partition(":")[0] not in VERBS), st.lists(words, max_size=7))
@settings(max_examples=60, deadline=None)
def test_no_other_verb_is_known(host: AptRoot, verb: str, rest: list[str]) -> None:
    refused(host, verb, *rest)
