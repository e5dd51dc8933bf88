"""Each line of a contract that does not hold is named, and no other."""

import os
import shutil
import subprocess

import pytest

from relight.domain.image.contract import ContractChecked
from relight.images.check import CheckUnreadableError, check_script, parse_check
from relight.images.contract_file import read_contract
from relight.images.requirements import Kind, Subject, requirements
from tests.images.contracts import ALL, ASKED, checked, texts
from tests.images.roots import root_of, violate, written

HIDES = {
    Kind.FILE: {Kind.MODE, Kind.OWNER, Kind.CONTENT, Kind.TRUSTED},
    Kind.DIRECTORY: {Kind.MODE, Kind.OWNER},
    Kind.USER: {Kind.SHELL, Kind.GROUP},
}
"""What is not checked of something that is not there."""


def test_nothing_is_named_where_all_holds(tmp_path):
    result = checked(ALL, root_of(ALL, tmp_path))
    assert result == ContractChecked(checked=len(ASKED))


def test_the_default_contract_can_be_fulfilled(tmp_path):
    file = read_contract()
    result = checked(file, root_of(file, tmp_path))
    assert (texts(result), result.checked) == ([], len(requirements(file, Subject.IMAGE)))


def test_the_contract_of_the_test_asks_for_each_kind():
    assert {each.kind for each in ASKED} == set(Kind) - {Kind.KERNEL}


@pytest.mark.parametrize("asked", ASKED, ids=lambda asked: asked.what[:60])
def test_each_line_that_is_violated_is_named_and_no_other(asked, tmp_path):
    violate(asked, root_of(ALL, tmp_path))
    [violation] = [
        each
        for each in checked(ALL, tmp_path).violations
        if not (asked.kind is Kind.USER and each.text.startswith("manager is not in the group"))
    ]
    assert violation.where == f"all.yaml:{asked.line}"
    assert violation.section == asked.section
    name = asked.subject.partition("*")[0] if asked.kind is not Kind.LOCKED else "build"
    assert name in violation.text


@pytest.mark.parametrize("first", [True, False], ids=["what is there", "what it is like"])
def test_every_line_of_the_default_contract_is_named(first, tmp_path):
    file = read_contract()
    root_of(file, tmp_path)
    like = {kind for hidden in HIDES.values() for kind in hidden}
    asked = [each for each in requirements(file, Subject.IMAGE) if (each.kind not in like) is first]
    for each in asked:
        # What is below a moved folder is not there either.
        if first and each.kind is Kind.DIRECTORY:
            continue
        violate(each, tmp_path)
    named = {(each.where, each.section) for each in checked(file, tmp_path).violations}
    expected = {
        (f"contract.yaml:{each.line}", each.section)
        for each in asked
        if not (first and each.kind is Kind.DIRECTORY)
    }
    assert expected <= named
    assert len(named - expected) <= (1 if first else 0), named - expected


def test_the_words_name_the_line(tmp_path):
    root_of(ALL, tmp_path)
    asked = {each.kind: each for each in ASKED}
    for kind in (Kind.PACKAGE, Kind.NO_PACKAGE, Kind.MASKED, Kind.SYSCTL):
        violate(asked[kind], tmp_path)
    assert texts(checked(ALL, tmp_path)) == [
        "all.yaml:5 downloads: collector is not installed: config-files",
        "all.yaml:31 masked: apt-daily.timer is not masked: absent",
        "all.yaml:33 sysctls: net.ipv4.tcp_rmem is set to another, not to 4096 131072 6291456",
        "all.yaml:48 absent_until_first_boot.packages: service is there: installed",
    ]


def test_a_machine_has_what_its_first_boot_made(tmp_path):
    root_of(ALL, tmp_path)
    for each in ASKED:
        if each.section.startswith("absent_until_first_boot"):
            violate(each, tmp_path)
    written(tmp_path, "/etc/service/token", "a token", 0o600)
    violations = checked(ALL, tmp_path, Subject.MACHINE).violations
    # It runs on this computer's kernel, whose value is another one.
    assert {each.section for each in violations} <= {"sysctls"}
    assert len(checked(ALL, tmp_path).violations) == 4


def test_a_link_out_of_the_image_is_not_followed(tmp_path):
    root = root_of(ALL, tmp_path / "root")
    (tmp_path / "outside").mkdir()
    written(tmp_path, "/outside/token", "", 0o600)
    shutil.rmtree(root / "etc/service")
    (root / "etc/service").symlink_to(tmp_path / "outside")
    # A machine made of it would find nothing there.
    assert texts(checked(ALL, root)) == [
        "all.yaml:13 files: /etc/service/token is not a file: absent"
    ]


def test_a_link_in_place_of_a_file_is_named(tmp_path):
    root = root_of(ALL, tmp_path)
    token = root / "etc/service/token"
    token.unlink()
    token.symlink_to("/dev/null")
    assert texts(checked(ALL, root)) == [
        "all.yaml:13 files: /etc/service/token is not a file: a link"
    ]


def test_a_masked_unit_is_not_enabled(tmp_path):
    root = root_of(ALL, tmp_path)
    [unit] = [each for each in ASKED if each.kind is Kind.NOT_ENABLED]
    violate(unit, root)
    (root / "etc/systemd/system/update.timer").symlink_to("/dev/null")
    assert texts(checked(ALL, root)) == []


def test_names_with_blanks_and_control_characters_are_shown_as_one_line(tmp_path):
    root = root_of(ALL, tmp_path)
    written(root, "/etc/ssh/ssh_host_a b\t\n\x1b[31m\u2028*")
    [violation] = checked(ALL, root).violations
    assert violation.text == r"/etc/ssh/ssh_host_a b   [31m\u2028* is there"


@pytest.mark.skipif(os.getuid() != 0, reason="only root can run as another user")
def test_what_an_account_may_not_see_is_named_and_not_called_a_violation(tmp_path_factory):
    root = root_of(ALL, tmp_path_factory.mktemp("root"))
    for folder in (root, *root.parents):
        if str(folder).startswith("/tmp/"):
            folder.chmod(0o755)
    written(root, "/etc/service/token", "not empty", 0o600)
    (root / "etc/cron.d").mkdir(mode=0o700)
    (root / "etc/cron.d").chmod(0o700)
    result = checked(ALL, root, unprivileged=True)
    assert result.violations == ()
    assert [str(each) for each in result.unseen] == [
        "all.yaml:16 files: /etc/service/token can be seen by root only",
        "all.yaml:45 absent.paths: /etc/cron.*/*update* can be seen by root only",
        "all.yaml:49 absent_until_first_boot.passwords: /etc/shadow can be seen by root only",
    ]


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "1\tpackage tzdata\tabsent\n",
        f"end\t{len(ASKED) - 1}\n",
        f"2\tpackage another\tabsent\nend\t{len(ASKED)}\n",
        f"end\t{len(ASKED)}\nmore\n",
    ],
    ids=["nothing", "cut short", "of another contract", "of another line", "with more after it"],
)
def test_an_answer_that_is_not_whole_proves_nothing(answer):
    with pytest.raises(CheckUnreadableError):
        parse_check(ALL, Subject.IMAGE, answer)


def test_a_root_that_is_not_there_or_has_no_packages_is_not_checked(tmp_path):
    for root in (tmp_path, tmp_path / "none"):
        ended = subprocess.run(
            ["sh", "-s", "--", str(root)],
            input=check_script(ALL, Subject.IMAGE),
            text=True,
            capture_output=True,
            check=False,
        )
        assert (ended.returncode, ended.stdout) == (1, "")
