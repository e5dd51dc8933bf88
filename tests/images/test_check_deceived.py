"""What the check of a root is not deceived by: each of these was missed, or was named wrongly."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from relight.images.contract_file import parse_contract
from tests.images.contracts import ALL, checked, texts
from tests.images.roots import root_of, written

SYSTEM = "/etc/systemd/system"
VENDOR = "/usr/lib/systemd/system"
NET = "all.yaml:33 sysctls: net.ipv4.tcp_rmem is set to "
UPDATE = "all.yaml:46 absent.units: update.timer is enabled: "
MASKED = "all.yaml:31 masked: apt-daily.timer is not masked: "


def link(root: Path, path: str, target: str) -> None:
    at = root / path[1:]
    at.parent.mkdir(parents=True, exist_ok=True)
    at.unlink(missing_ok=True)
    at.symlink_to(target)


def moved(root: Path, path: str, target: str) -> None:
    """Move a file or a folder, and leave a link to where it is in the root itself."""
    (root / target[1:]).parent.mkdir(parents=True, exist_ok=True)
    (root / path[1:]).rename(root / target[1:])
    link(root, path, target)


def package(name: str, status: str, more: str = "") -> str:
    return f"\nPackage: {name}\nStatus: {status}\n{more}Version: 1\n"


def with_status(root: Path, text: str) -> None:
    with (root / "var/lib/dpkg/status").open("a") as status:
        status.write(text)


def without_package(root: Path, name: str) -> None:
    status = root / "var/lib/dpkg/status"
    entries = status.read_text().split("\n\n")
    status.write_text("\n\n".join(e for e in entries if f"Package: {name}\n" not in e))


@pytest.mark.parametrize("path", ["/var/lib/dpkg", "/etc/passwd", "/etc/shadow", "/etc/sysctl.d"])
def test_absolute_links_lead_where_they_do_on_a_machine(path: str, tmp_path: Path) -> None:
    root = root_of(ALL, tmp_path)
    moved(root, path, f"/srv{path}")
    assert texts(checked(ALL, root)) == []


@pytest.mark.parametrize(
    ("path", "named"),
    [
        ("/etc/passwd", "all.yaml:28 users: there is no user manager"),
        ("/etc/group", "all.yaml:30 users: manager is not in the group sudo"),
        ("/etc/shadow", "unknown: it is absent"),
        ("/etc/ssl/certs/ca-certificates.crt", "not in the system's store of certificates"),
        ("/etc/sysctl.d/80-image.conf", f"{NET}nothing"),
    ],
)
def test_no_file_of_this_computer_is_read_by_a_link(path: str, named: str, tmp_path: Path) -> None:
    root = root_of(ALL, tmp_path / "root")
    moved(root, path, "/moved")
    (root / "moved").rename(tmp_path / "moved")
    link(root, path, str(tmp_path / "moved"))
    assert any(named in each for each in texts(checked(ALL, root)))


def test_the_packages_of_this_computer_are_not_those_of_the_root(tmp_path: Path) -> None:
    root = root_of(ALL, tmp_path / "root")
    (root / "var/lib/dpkg").rename(tmp_path / "dpkg")
    link(root, "/var/lib/dpkg", str(tmp_path / "dpkg"))
    with pytest.raises(AssertionError, match="returncode=1"):
        checked(ALL, root)


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    root = root_of(ALL, tmp_path)
    link(root, "/etc/service/token", "/etc/service/token")
    link(root, "/etc/ssh", "ssh2")
    link(root, "/etc/ssh2", "ssh")
    assert any("token is not a file: a link" in each for each in texts(checked(ALL, root)))


@pytest.mark.parametrize(
    ("target", "folder"),
    [("/srv/ssh", "/srv/ssh"), ("../srv/ssh", "/srv/ssh"), ("/srv/a b\n", "/srv/a b\n")],
)
def test_a_pattern_goes_through_links(target: str, folder: str, tmp_path: Path) -> None:
    root = root_of(ALL, tmp_path)
    written(root, f"{folder}/ssh_host_rsa_key")
    link(root, "/etc/ssh", target)
    [violation] = texts(checked(ALL, root))
    assert violation.startswith("all.yaml:50 absent_until_first_boot.paths: ")
    assert violation.endswith("ssh_host_rsa_key is there")


@pytest.mark.parametrize(
    "status",
    [
        "deinstall ok config-files",
        "install ok half-installed",
        "install ok unpacked",
        "install reinstreq half-configured",
        "install ok triggers-pending",
        "install reinstreq installed",
    ],
)
def test_a_package_in_any_other_state_is_neither_installed_nor_absent(
    status: str, tmp_path: Path
) -> None:
    root = root_of(ALL, tmp_path)
    without_package(root, "tzdata")
    with_status(root, package("tzdata", status) + package("service", status))
    state = "reinstreq" if "reinstreq" in status else status.split()[2]
    assert texts(checked(ALL, root)) == [
        f"all.yaml:2 packages: tzdata is not installed: {state}",
        f"all.yaml:48 absent_until_first_boot.packages: service is there: {state}",
    ]


def test_a_package_that_was_never_installed_is_absent(tmp_path: Path) -> None:
    root = root_of(ALL, tmp_path)
    with_status(root, package("service", "unknown ok not-installed"))
    with_status(root, package("tzdata", "deinstall ok config-files", "Architecture: i386\n"))
    assert texts(checked(ALL, root)) == []


def test_what_dpkg_noted_before_it_was_interrupted_counts(tmp_path: Path) -> None:
    root = root_of(ALL, tmp_path)
    written(root, "/var/lib/dpkg/updates/0000", package("tzdata", "install ok half-installed"))
    written(root, "/var/lib/dpkg/updates/0001", package("service", "install ok unpacked"))
    assert texts(checked(ALL, root)) == [
        "all.yaml:2 packages: tzdata is not installed: half-installed",
        "all.yaml:48 absent_until_first_boot.packages: service is there: unpacked",
    ]


@pytest.mark.parametrize("folder", ["etc/systemd/system", "usr/lib/systemd/system"])
def test_an_empty_file_masks_a_unit_as_well(folder: str, tmp_path: Path) -> None:
    root = root_of(ALL, tmp_path)
    (root / "etc/systemd/system/apt-daily.timer").unlink()
    written(root, f"/{folder}/apt-daily.timer")
    written(root, f"{SYSTEM}/update.timer")
    written(root, f"{SYSTEM}/timers.target.wants/update.timer")
    assert texts(checked(ALL, root)) == []


@pytest.mark.parametrize("folder", ["/etc/systemd/system.control", "/run/systemd/transient"])
def test_a_file_that_counts_before_the_mask_is_named(folder: str, tmp_path: Path) -> None:
    root = root_of(ALL, tmp_path)
    written(root, f"{folder}/apt-daily.timer", "[Timer]\n")
    assert texts(checked(ALL, root)) == [f"{MASKED}{folder}/apt-daily.timer"]


def test_a_unit_beside_its_mask_is_named(tmp_path: Path) -> None:
    root = root_of(ALL, tmp_path)
    (root / "etc/systemd/system/apt-daily.timer").unlink()
    written(root, f"{VENDOR}/apt-daily.timer", "[Timer]\n")
    assert texts(checked(ALL, root)) == [f"{MASKED}{VENDOR}/apt-daily.timer"]


def of_vendor(root: Path) -> str:
    link(root, f"{VENDOR}/timers.target.wants/update.timer", "../update.timer")
    return f"{VENDOR}/timers.target.wants/update.timer"


def of_local_vendor(root: Path) -> str:
    link(root, "/usr/local/lib/systemd/system/a.target.requires/update.timer", "../update.timer")
    return "/usr/local/lib/systemd/system/a.target.requires/update.timer"


def upheld(root: Path) -> str:
    link(root, f"{SYSTEM}/multi-user.target.upholds/update.timer", f"{VENDOR}/update.timer")
    return f"{SYSTEM}/multi-user.target.upholds/update.timer"


def by_alias(root: Path) -> str:
    link(root, f"{SYSTEM}/nightly.timer", f"{VENDOR}/update.timer")
    link(root, f"{SYSTEM}/timers.target.wants/nightly.timer", f"{SYSTEM}/nightly.timer")
    return f"{SYSTEM}/timers.target.wants/nightly.timer"


def by_alias_of_alias(root: Path) -> str:
    link(root, f"{VENDOR}/daily.timer", "update.timer")
    link(root, f"{SYSTEM}/nightly.timer", f"{VENDOR}/daily.timer")
    link(root, f"{SYSTEM}/timers.target.wants/nightly.timer", f"{SYSTEM}/nightly.timer")
    return f"{SYSTEM}/timers.target.wants/nightly.timer"


@pytest.mark.parametrize(
    "enable", [of_vendor, of_local_vendor, upheld, by_alias, by_alias_of_alias]
)
def test_a_unit_is_enabled_in_every_way(enable: Callable[[Path], str], tmp_path: Path) -> None:
    root = root_of(ALL, tmp_path)
    written(root, f"{VENDOR}/update.timer", "[Timer]\n")
    where = enable(root)
    assert texts(checked(ALL, root)) == [f"{UPDATE}{where}"]


def test_an_instance_of_a_template_is_enabled(tmp_path: Path) -> None:
    file = parse_contract(b"packages: [tzdata]\nabsent: {units: [update@.service]}\n", "mine.yaml")
    root = root_of(file, tmp_path)
    written(root, f"{SYSTEM}/multi-user.target.wants/update@two.service")
    where = f"{SYSTEM}/multi-user.target.wants/update@two.service"
    said = f"mine.yaml:2 absent.units: update@.service is enabled: {where}"
    assert texts(checked(file, root)) == [said]


@pytest.mark.parametrize("name", ["99 z.conf", "80-image.conf z.conf", "99-a\nb.conf"])
def test_a_setting_in_a_file_with_any_name_counts(name: str, tmp_path: Path) -> None:
    root = root_of(ALL, tmp_path)
    written(root, f"/usr/lib/sysctl.d/{name}", "net.ipv4.tcp_rmem = 1\n")
    assert texts(checked(ALL, root)) == [f"{NET}1, not to 4096 131072 6291456"]


@pytest.mark.parametrize(
    "line",
    [
        "net/ipv4/tcp_rmem=1",
        "-net.ipv4.tcp_rmem = 1",
        "  net.ipv4.tcp_rmem=1  ",
        "net.ipv4.tcp_rmem=1",
    ],
)
def test_each_way_to_write_a_setting_counts(line: str, tmp_path: Path) -> None:
    root = root_of(ALL, tmp_path)
    written(root, "/etc/sysctl.d/99-z.conf", line)
    assert texts(checked(ALL, root)) == [f"{NET}1, not to 4096 131072 6291456"]


@pytest.mark.parametrize(
    "line", ["#net.ipv4.tcp_rmem=1", ";net.ipv4.tcp_rmem=1", "net.ipv4.tcp_rmem"]
)
def test_what_is_no_setting_does_not_count(line: str, tmp_path: Path) -> None:
    root = root_of(ALL, tmp_path)
    written(root, "/etc/sysctl.d/99-z.conf", line)
    assert texts(checked(ALL, root)) == []


def test_a_masked_file_of_settings_does_not_count(tmp_path: Path) -> None:
    root = root_of(ALL, tmp_path)
    moved(root, "/etc/sysctl.d/80-image.conf", "/usr/lib/sysctl.d/80-image.conf")
    link(root, "/etc/sysctl.d/80-image.conf", "/dev/null")
    assert texts(checked(ALL, root)) == [f"{NET}nothing, not to 4096 131072 6291456"]


def test_a_later_file_by_a_link_counts(tmp_path: Path) -> None:
    root = root_of(ALL, tmp_path)
    written(root, "/etc/sysctl.conf", "net.ipv4.tcp_rmem = 1\n")
    link(root, "/etc/sysctl.d/99-sysctl.conf", "/etc/sysctl.conf")
    assert texts(checked(ALL, root)) == [f"{NET}1, not to 4096 131072 6291456"]


@pytest.mark.parametrize(
    ("entry", "has_one"),
    [
        ("b:$y$j9T$x:", True),
        ("b::", True),
        ("b:!$y$j9T$x:", True),
        ("b:x:", False),
        ("b:*:", False),
    ],
)
def test_a_password_outside_of_the_shadow_file_is_one(
    entry: str, has_one: bool, tmp_path: Path
) -> None:
    root = root_of(ALL, tmp_path)
    with (root / "etc/passwd").open("a") as accounts:
        accounts.write(f"{entry}0:0::/root:/bin/sh\n")
    said = ["all.yaml:49 absent_until_first_boot.passwords: these accounts have a password: b"]
    assert texts(checked(ALL, root)) == (said if has_one else [])


def test_no_value_of_a_root_says_that_it_could_not_be_seen(tmp_path: Path) -> None:
    root = root_of(ALL, tmp_path)
    accounts = root / "etc/passwd"
    accounts.write_text(accounts.read_text().replace("manager:/bin/sh", "manager:?"))
    written(root, "/etc/sysctl.d/99-z.conf", "net.ipv4.tcp_rmem = ?\n")
    result = checked(ALL, root)
    assert result.unseen == ()
    assert [each.where for each in result.violations] == ["all.yaml:29", "all.yaml:33"]


@pytest.mark.skipif(os.getuid() != 0, reason="only root makes a device")
def test_a_device_or_a_pipe_is_no_file(tmp_path: Path) -> None:
    root = root_of(ALL, tmp_path)
    token = root / "etc/service/token"
    token.unlink()
    subprocess.run(["mkfifo", "-m", "0600", token], check=True)
    assert texts(checked(ALL, root))[0] == (
        "all.yaml:13 files: /etc/service/token is not a file: something else"
    )
