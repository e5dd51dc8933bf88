"""Calls that `relight-host` refuses: with exit code 64, one line of text, and no effect.

A group of calls is made from one shell, and each call is one test.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.apt_root import Answer, AptRoot

UNIT, SHA256 = "relight-install.service", "0" * 64
URLS = "https://github.com/lantern/box/releases/download/"
URL = f"{URLS}v0.0.74/x.deb"
DEB = (URL, SHA256, "7", "amd64")

Call = tuple[str, ...]

VERSIONS = [
    *("", "-o", "--reinstall", "1;reboot", "1 2", "1\n2", "1/2", "1=2", "a1", ".1", "~1", "1$(id)"),
    *("1`id`", "1*", "1&", "1|id", "1_2", "é", "1é", "1\t", " 1", "1'", "$HOME", "+1", ":1"),
    # By Debian's policy: `NAME=1-` would have apt remove the package.
    *("1-", "1.0-1-", "1:1-", "1:", "a:1", "-1:1", ":1:1", "1:a", "1-1:1", "1-_", "12345678901:1"),
]
INSTALLS: list[Call] = [("install",), ("change",), ("swap", UNIT, "5", "600")]
VERSION_CALLS: list[Call] = [
    (*install, version, "upgrade", *deb)
    for version in VERSIONS
    for install in INSTALLS
    for deb in ((), DEB)
]

UNITS = [
    *("", "ssh.service", "relight-install", "relight-x.timer", "relight-.service.d", "-relight"),
    *("relight-a b.service", "relight-a;b.service", "relight-A.service", "relight-é.service"),
    *("relight-*.service", "relight-a/b.service", "relight-a@b.service", "relight-a\nb.service"),
    *("--relight-a.service", "xrelight-a.service", "relight-a.service ", "relight-a_b.service"),
]
UNIT_CALLS: list[Call] = [
    call
    for unit in UNITS
    for call in (
        ("swap", unit, "5", "600", "1", "upgrade"),
        ("observe", unit, "5"),
        ("log", unit),
        ("forget", unit),
    )
]

NUMBERS = ["", "-1", "1.5", "1s", "five", " 5", "5 ", "5\n", "$((1))", "٣", "1234567890"]
NUMBER_CALLS: list[Call] = [
    call
    for number in NUMBERS
    for call in (
        ("swap", UNIT, number, "600", "1", "upgrade"),
        ("swap", UNIT, "5", number, "1", "upgrade"),
        ("observe", UNIT, number),
        ("journal", number),
        ("install", "1", "upgrade", URL, SHA256, number, "amd64"),
    )
]

DIRECTION_CALLS: list[Call] = [
    ("install", "1", direction)
    for direction in ("", "downgrade", "--allow-downgrades", "upgrade rollback")
]

REFUSED_URLS = [
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
    f"{URLS}${{HOME}}.deb",  # systemd-run would expand it
    f"{URLS}$$.deb",
]
URL_CALLS: list[Call] = [
    (*install, "1", "upgrade", url, *DEB[1:])
    for url in REFUSED_URLS
    for install in (INSTALLS[0], INSTALLS[2])
]

DIGESTS = ["", "0" * 63, "0" * 65, "A" * 64, "g" * 64, "0" * 63 + " ", "0" * 63 + "\n", "é" * 32]
DIGEST_CALLS: list[Call] = [
    ("install", "1", "upgrade", URL, digest, *DEB[2:]) for digest in DIGESTS
]

ARCHITECTURE_CALLS: list[Call] = [
    ("install", "1", "upgrade", URL, SHA256, "7", architecture)
    for architecture in ("", "a/b", "AMD64", "amd64;id", "amd 64", "../x", "é")
]

UNKNOWN_CALLS: list[Call] = [
    (),
    ("",),
    ("", "observe"),
    ("help",),
    ("--help",),
    ("*",),
    ("observe:0",),
    ("swap",),
    ("swap", UNIT, "5", "600", "1"),
    ("swap", UNIT, "5", "1", "upgrade"),
    ("swap", UNIT, "5", "600", "1", "upgrade", *DEB[:-1]),
    ("swap", UNIT, "5", "600", "1", "upgrade", *DEB, "more"),
    ("observe", UNIT),
    ("observe", UNIT, "5", "more"),
    ("log",),
    ("log", UNIT, "more"),
    ("forget", UNIT, "ssh.service"),
    ("journal",),
    ("journal", "5", "--unit=ssh"),
    ("host-key", ""),
    ("host-key", "/etc/shadow"),
    ("step",),
    ("step", "../../../etc/shadow"),
    ("step", ""),
    ("step", "install", "more"),
    ("install",),
    ("install", "1"),
    ("install", "1", "upgrade", URL),
    ("install", "1", "upgrade", *DEB, "more"),
    ("change", "1", "upgrade", "more"),
    ("dry-run", "1"),
    ("serve", "ssh.service"),
    ("sh", "-c", "id"),
]

ALL_CALLS = [
    *(*VERSION_CALLS, *UNIT_CALLS, *NUMBER_CALLS, *DIRECTION_CALLS, *URL_CALLS, *DIGEST_CALLS),
    *(*ARCHITECTURE_CALLS, *UNKNOWN_CALLS),
]


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> AptRoot:
    """A host on which every program records that it ran; none may."""
    host = AptRoot(tmp_path_factory.mktemp("refusing") / "host")
    host.configure(URLS)
    for name in (
        *("apt-get", "apt-cache", "dpkg", "dpkg-query", "curl", "mktemp", "mkdir", "rm", "cat"),
        *("systemctl", "systemd-run", "journalctl", "tail", "timeout", "sha256sum", "id"),
    ):
        host.put_program(name, f'echo "{name} ran: $*" >>{host.trace}')
    return host


@pytest.fixture(scope="module")
def answers(host: AptRoot) -> Mapping[Call, Answer]:
    """The answers to all calls of this module's lists."""
    return dict(zip(ALL_CALLS, answers_of(host, ALL_CALLS), strict=True))


def answers_of(host: AptRoot, calls: Sequence[Call]) -> list[Answer]:
    before = host.files()
    found = host.call_all(calls)
    assert host.files() == before
    return found


def check_refused(answer: Answer) -> str:
    assert (answer.exit_code, answer.stdout, answer.trace) == (64, "", "")
    assert answer.stderr.startswith("relight-host: ")
    return answer.stderr


def check_all_refused(host: AptRoot, calls: Sequence[Call]) -> list[str]:
    return [check_refused(answer) for answer in answers_of(host, calls)]


@pytest.mark.parametrize("call", VERSION_CALLS)
def test_an_invalid_version_is_refused(answers: Mapping[Call, Answer], call: Call) -> None:
    assert "not a version" in check_refused(answers[call])


@pytest.mark.parametrize("call", UNIT_CALLS)
def test_a_unit_that_is_no_transaction_is_refused(
    answers: Mapping[Call, Answer], call: Call
) -> None:
    assert "not a transaction unit" in check_refused(answers[call])


@pytest.mark.parametrize("call", NUMBER_CALLS)
def test_an_invalid_number_is_refused(answers: Mapping[Call, Answer], call: Call) -> None:
    assert "not a number" in check_refused(answers[call])


@pytest.mark.parametrize("call", DIRECTION_CALLS)
def test_a_change_is_an_upgrade_or_a_rollback(answers: Mapping[Call, Answer], call: Call) -> None:
    assert "neither upgrade nor rollback" in check_refused(answers[call])


@pytest.mark.parametrize("call", URL_CALLS)
def test_a_package_from_another_url_is_refused(answers: Mapping[Call, Answer], call: Call) -> None:
    text = check_refused(answers[call])
    assert "not a valid URL" in text or "packages come from" in text


@pytest.mark.parametrize("call", DIGEST_CALLS)
def test_an_invalid_digest_is_refused(answers: Mapping[Call, Answer], call: Call) -> None:
    assert "not a SHA-256" in check_refused(answers[call])


@pytest.mark.parametrize("call", ARCHITECTURE_CALLS)
def test_an_invalid_architecture_is_refused(answers: Mapping[Call, Answer], call: Call) -> None:
    assert "not an architecture" in check_refused(answers[call])


@pytest.mark.parametrize("call", UNKNOWN_CALLS)
def test_an_unknown_call_is_refused(answers: Mapping[Call, Answer], call: Call) -> None:
    check_refused(answers[call])


def test_the_url_prefix_is_not_a_pattern(tmp_path: Path) -> None:
    host = AptRoot(tmp_path / "host")
    host.configure("https://*.example/")
    check_all_refused(host, [("install", "1", "upgrade", "https://evil.example/x.deb", *DEB[1:])])


def test_a_host_that_uses_apt_fetches_no_package(tmp_path: Path) -> None:
    host = AptRoot(tmp_path / "host")
    host.configure()
    calls: list[Call] = [
        ("install", "1", "upgrade", *DEB),
        ("swap", UNIT, "5", "600", "1", "upgrade", *DEB),
    ]
    for text in check_all_refused(host, calls):
        assert "fetches no packages" in text


# ---------------------------------------------------------------- any text

EXAMPLES, BATCH = 6, 10

words = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)


def batches(one: st.SearchStrategy[Call]) -> st.SearchStrategy[list[Call]]:
    """Return lists of calls that are made from one shell."""
    return st.lists(one, min_size=BATCH, max_size=BATCH)


@given(
    batches(
        words.filter(lambda word: not word.isascii() or not word[:1].isdigit()).map(
            lambda word: ("install", word, "upgrade")
        )
    )
)
@settings(max_examples=EXAMPLES, deadline=None)
def test_a_version_starts_with_a_digit_and_is_ascii(host: AptRoot, calls: list[Call]) -> None:
    check_all_refused(host, calls)


@given(
    batches(
        words.filter(lambda word: set(word) - set("abcdefghijklmnopqrstuvwxyz0123456789.-")).map(
            lambda word: ("forget", f"relight-{word}.service")
        )
    )
)
@settings(max_examples=EXAMPLES, deadline=None)
def test_a_unit_has_only_plain_characters(host: AptRoot, calls: list[Call]) -> None:
    check_all_refused(host, calls)


@given(
    batches(
        words.filter(lambda word: not all("!" <= letter <= "~" for letter in word)).map(
            lambda word: ("install", "1", "upgrade", f"{URLS}{word}", *DEB[1:])
        )
    )
)
@settings(max_examples=EXAMPLES, deadline=None)
def test_a_url_has_only_printable_ascii(host: AptRoot, calls: list[Call]) -> None:
    check_all_refused(host, calls)


SUBCOMMANDS = {
    *("swap", "observe", "log", "forget", "journal"),
    *("step", "change", "install", "dry-run", "serve", "host-key"),
}


@given(
    batches(
        st.tuples(
            words.filter(lambda word: word.partition(":")[0] not in SUBCOMMANDS),
            st.lists(words, max_size=7),
        ).map(lambda call: (call[0], *call[1]))
    )
)
@settings(max_examples=EXAMPLES, deadline=None)
def test_no_other_subcommand_exists(host: AptRoot, calls: list[Call]) -> None:
    check_all_refused(host, calls)
