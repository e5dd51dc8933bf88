"""`relight-host stage` and `change`: the service's configuration on a host."""

import subprocess
from pathlib import Path

import pytest

from relight.domain import configuration as limits
from relight.domain.configuration import OnConfigurationChange
from relight.hosts import host_program
from relight.hosts.configuration import HostConfiguration, HostFile
from relight.hosts.host_program import Change
from relight.hosts.keys import derive_host_key
from relight.hosts.observation import parse
from tests.hosts.conftest import ServingHost
from tests.support.apt_root import UNIT
from tests.support.memory_shell import running

PRESENT, OTHER = (derive_host_key(bytes([byte] * 32), "de-1-g1") for byte in (1, 2))
RESTART = f"systemctl restart -- {UNIT}"
RELOAD = f"systemctl reload-or-restart -- {UNIT}"
RESTARTED = [["systemctl", "restart", "--", UNIT]]


class ConfiguredHost:
    """A host whose service runs, and whose configuration is changed."""

    def __init__(self, serving: ServingHost, process: int) -> None:
        self.serving, self.process = serving, process
        self.host = serving.host
        (self.host.root / "etc/ssh/ssh_host_ed25519_key").write_text(PRESENT.private)
        serving.systemd.set(UNIT, running(), main_pid=process)

    def path(self, name: str) -> Path:
        return self.host.root / "etc" / name

    def configuration(
        self,
        *check: str,
        on_change: str = "restart",
        mode: str = "640",
        owner: str = "root",
        **files: str,
    ) -> HostConfiguration:
        return HostConfiguration(
            tuple(
                HostFile(
                    str(self.path(name.replace("__", "/"))), mode, owner, "root", text.encode()
                )
                for name, text in sorted(files.items())
            ),
            check,
            OnConfigurationChange(on_change),
            b"key",
        )

    def stage(
        self, configuration: HostConfiguration, key: str = PRESENT.private
    ) -> subprocess.CompletedProcess[str]:
        words = host_program.stage(configuration.digest)[1:]
        return self.host.call(*words, stdin=key + configuration.lines)

    def change(self, configuration: HostConfiguration | None) -> subprocess.CompletedProcess[str]:
        digest = [configuration.digest] if configuration else []
        change = Change("1.0", deb=self.serving.deb("1.0"))
        return self.host.call("change", *digest, *change.words())

    def take(self, configuration: HostConfiguration) -> list[str]:
        """Stage and take a configuration; return what systemd was told."""
        staged = self.stage(configuration)
        assert (staged.returncode, staged.stderr) == (0, "")
        self.serving.systemd.calls()
        changed = self.change(configuration)
        assert changed.returncode == 0, changed.stdout + changed.stderr
        return self.serving.systemd.effects()

    def observed(self) -> tuple[str, tuple[str, ...], bool]:
        seen = parse(self.host.call("observe").stdout)
        return seen.configuration, seen.edited, seen.is_installed_file

    def left(self) -> list[str]:
        """What is left of a change."""
        found = [*self.host.root.rglob(".relight.*"), *self.host.root.rglob("*.new")]
        found += [self.host.root / "usr/sbin/policy-rc.d", self.host.root / "run/relight/staged"]
        return [str(each) for each in found if each.exists()]


@pytest.fixture
def configured(settled: ServingHost, process: int) -> ConfiguredHost:
    return ConfiguredHost(settled, process)


def test_files_are_written_with_mode_and_owner_and_the_service_starts_again(
    configured: ConfiguredHost,
) -> None:
    wanted = configured.configuration(app__a="one\n", app__b="", owner="nobody")
    assert configured.take(wanted) == [RESTART]
    written = configured.path("app/a")
    assert (written.read_text(), written.stat().st_mode & 0o7777) == ("one\n", 0o640)
    assert (written.owner(), written.group()) == ("nobody", "root")
    assert configured.path("app/b").read_bytes() == b""
    digest, edited, proven = configured.observed()
    assert (digest, edited) == (wanted.digest, ())
    assert not proven  # the stub's process started before
    assert configured.left() == []


def test_the_same_files_again_change_nothing(configured: ConfiguredHost) -> None:
    wanted = configured.configuration(a="one\n", on_change="none")
    assert configured.take(wanted) == []
    before = configured.path("a").stat()
    assert configured.change(wanted).returncode == 0  # without another staging
    assert configured.take(wanted) == []
    # So does another configuration with the same files.
    assert configured.take(configured.configuration("true", a="one\n", on_change="none")) == []
    after = configured.path("a").stat()
    assert (after.st_ino, after.st_ctime_ns) == (before.st_ino, before.st_ctime_ns)


@pytest.mark.parametrize(
    ("how", "told"), [("reload", [RELOAD]), ("none", []), ("restart", [RESTART])]
)
def test_the_service_takes_a_change_as_declared(
    configured: ConfiguredHost, how: str, told: list[str]
) -> None:
    assert configured.take(configured.configuration(a="one\n", on_change=how)) == told
    assert configured.take(configured.configuration(a="two\n", on_change=how)) == told


def test_a_refused_configuration_changes_nothing_and_its_check_is_quoted(
    configured: ConfiguredHost,
) -> None:
    first = configured.configuration(app__a="good\n", app__b="old\n")
    configured.take(first)
    script = (
        f'grep -q good {configured.path("app/a")} || {{ echo "no good on line 1" >&2; exit 3; }}'
    )
    bad = configured.configuration("sh", "-c", script, app__a="bad\n", app__c="new\n")
    configured.stage(bad)
    refused = configured.change(bad)
    assert refused.returncode == host_program.REFUSED_CONFIGURATION_EXIT_CODE
    assert "no good on line 1" in refused.stdout
    assert refused.stderr.endswith("the check of the configuration ended with exit code 3\n")
    assert configured.path("app/a").read_text() == "good\n"
    assert not configured.path("app/c").exists()
    assert configured.observed()[:2] == (first.digest, ())
    good = configured.configuration("sh", "-c", script, app__a="good too\n")
    configured.take(good)
    assert configured.path("app/a").read_text() == "good too\n"


def test_the_check_finds_the_new_files_at_their_places_and_the_removed_ones_gone(
    configured: ConfiguredHost,
) -> None:
    folder = configured.path("app")
    folder.mkdir()
    (folder / "own").write_text("the host's\n")
    configured.take(configured.configuration(app__old="x", app__a="one\n"))
    script = (
        f"cd {folder} && ! test -e old && grep -q two a && grep -q host own && "
        "grep -q deep more/deep && stat -c %a more/deep | grep -qx 600"
    )
    configured.take(
        configured.configuration(
            "sh", "-c", script, app__a="two\n", app__more__deep="deep\n", mode="600"
        )
    )
    assert (folder / "more/deep").read_text() == "deep\n"
    assert not (folder / "old").exists()
    assert (folder / "own").read_text() == "the host's\n"


def test_files_that_are_not_ours_any_more_are_as_before(configured: ConfiguredHost) -> None:
    kept = configured.path("kept")
    kept.write_text("the package's\n")
    kept.chmod(0o604)
    link = configured.path("link")
    link.symlink_to("kept")
    configured.take(configured.configuration(kept="ours\n", link="ours\n", made="ours\n"))
    assert (kept.read_text(), link.is_symlink()) == ("ours\n", False)
    configured.take(configured.configuration(kept="ours again\n", link="ours\n", made="ours\n"))
    configured.serving.systemd.calls()
    assert configured.change(None).returncode == 0
    assert configured.serving.systemd.effects() == [RESTART]
    assert (kept.read_text(), kept.stat().st_mode & 0o777) == ("the package's\n", 0o604)
    assert link.readlink() == Path("kept")
    assert not configured.path("made").exists()
    assert configured.observed()[:2] == ("", ())
    assert configured.change(None).returncode == 0
    assert not list((configured.host.root / "var/lib/relight/before").rglob("kept"))


def test_edited_files_are_found_and_the_same_configuration_heals_them(
    configured: ConfiguredHost,
) -> None:
    wanted = configured.configuration(a="one\n", b="one\n", c="one\n", d="one\n", on_change="none")
    configured.take(wanted)
    configured.path("a").write_text("edited\n")
    configured.path("b").unlink()
    configured.path("c").chmod(0o666)
    configured.path("d").unlink()
    configured.path("d").symlink_to("a")
    digest, edited, _ = configured.observed()
    assert digest == wanted.digest
    root = configured.host.root
    assert [line.removeprefix(f"{root}/etc/") for line in edited] == [
        "a was changed",
        "b is missing",
        "c has another mode or owner",
        "d is not a file",
        "d was changed",
    ]
    assert configured.change(wanted).returncode == host_program.NO_CONFIGURATION_EXIT_CODE
    configured.take(wanted)
    assert configured.observed()[:2] == (wanted.digest, ())
    assert not configured.path("d").is_symlink()


def test_a_swap_begins_nothing_without_its_configuration(configured: ConfiguredHost) -> None:
    wanted = configured.configuration(a="one\n")
    call = ["swap", "relight-a.service", "0", "600", "any", wanted.digest, "0.0.74", "upgrade"]
    refused = configured.host.call(*call)
    assert (refused.returncode, refused.stdout) == (host_program.NO_CONFIGURATION_EXIT_CODE, "")
    configured.stage(wanted)
    configured.serving.systemd.calls()
    assert configured.host.call(*call).returncode == 0
    run = next(each for each in configured.serving.systemd.calls() if each[0] == "systemd-run")
    assert run[-4:] == ["change", wanted.digest, "0.0.74", "upgrade"]


@pytest.mark.parametrize("key", ["", OTHER.private, PRESENT.public])
def test_only_who_knows_the_host_key_brings_a_configuration(
    configured: ConfiguredHost, key: str
) -> None:
    wanted = configured.configuration(a="a-secret\n")
    refused = configured.stage(wanted, key)
    assert refused.returncode == 77
    assert "a-secret" not in refused.stdout + refused.stderr
    assert configured.left() == []


@pytest.mark.parametrize(
    "line",
    [
        "file 640 root root {etc}/../x eA==",
        "file 640 root root {etc}/ssh/sshd_config eA==",
        "file 640 root root /root/.ssh/authorized_keys eA==",
        "file 640 root root /etc/passwd eA==",
        "file 640 root root {etc}/a;id eA==",
        "file 640 root root {etc}//a eA==",
        "file 640 root root {etc}/. eA==",
        "file 4755 root root {etc}/a eA==",
        "file u+s root root {etc}/a eA==",
        "file 640 -R root {etc}/a eA==",
        "file 640 $(id) root {etc}/a eA==",
        "file 640 root root {etc}/a %",
        "on-change stop",
        "check %",
        "run eA==",
        "file",
    ],
)
def test_a_configuration_that_is_not_well_formed_is_refused(
    configured: ConfiguredHost, line: str
) -> None:
    etc = configured.host.root / "etc"
    text = f"{PRESENT.private}{line.format(etc=etc)}\n"
    refused = configured.host.call("stage", "0" * 64, stdin=text)
    assert refused.returncode == 77
    assert configured.left() == []


def test_what_cannot_be_written_changes_nothing(configured: ConfiguredHost) -> None:
    first = configured.configuration(a="one\n", b="one\n")
    configured.take(first)
    configured.path("folder").mkdir()
    for wanted in (
        configured.configuration(a="two\n", folder="two\n"),
        configured.configuration(a="two\n", b="two\n", owner="no-such-user"),
    ):
        configured.stage(wanted)
        refused = configured.change(wanted)
        assert refused.returncode == host_program.NOT_WRITTEN_EXIT_CODE
        assert refused.stderr.splitlines()[-1].startswith("relight: ")
        assert configured.path("a").read_text() == "one\n"
        assert configured.observed()[:2] == (first.digest, ())
        assert [each for each in configured.left() if "staged" not in each] == []


def test_a_change_that_was_cut_short_is_finished_by_the_next(configured: ConfiguredHost) -> None:
    first = configured.configuration(a="one\n")
    configured.take(first)
    wanted = configured.configuration(a="two\n", b="two\n")
    configured.stage(wanted)
    # As if the host lost power in the middle of it: mv fails at the second file.
    mv = '[ "$2" != new ] || [ "$3" != ../b ] || exit 1\nexec /usr/bin/mv "$@"'
    configured.host.put_program("mv", mv)
    assert configured.change(wanted).returncode == host_program.NOT_WRITTEN_EXIT_CODE
    (configured.host.root / "programs/mv").unlink()
    assert configured.path("a").read_text() == "two\n"
    assert configured.observed()[0] == ""
    # Back to the first: what the second had made is gone.
    assert configured.take(first) == [RESTART]
    assert configured.path("a").read_text() == "one\n"
    assert not configured.path("b").exists()


def test_a_service_that_did_not_take_its_configuration_is_not_proven(
    configured: ConfiguredHost,
) -> None:
    wanted = configured.configuration(a="one\n", on_change="reload")
    configured.stage(wanted)
    configured.serving.systemd.fail("reload-or-restart", "no", once=True)
    assert configured.change(wanted).returncode == host_program.SERVICE_EXIT_CODE
    assert configured.observed()[0] == ""
    assert configured.take(wanted) == [RELOAD]
    assert configured.observed()[0] == wanted.digest


def test_the_folders_are_those_of_the_domain() -> None:
    program = host_program.source()
    assert f"\nCONFIGURED='{' '.join(limits.FOLDERS)}'\n" in program
    lines = [line for line in program.splitlines() if line.startswith("NOT_CONFIGURED=")]
    named = " ".join(line.partition("=")[2].strip("'\"") for line in lines)
    words = [word for word in named.split() if word != "$NOT_CONFIGURED"]
    assert words == list(limits.NOT_CONFIGURED)


def test_a_policy_of_the_host_stays(configured: ConfiguredHost, settled: ServingHost) -> None:
    policy = configured.host.root / "usr/sbin/policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 101\n")
    configured.stage(wanted := configured.configuration(a="one\n"))
    assert configured.change(wanted).returncode == 0
    assert policy.read_text() == "#!/bin/sh\nexit 101\n"


def test_root_alone_reads_the_record_and_what_was_staged(configured: ConfiguredHost) -> None:
    configured.stage(wanted := configured.configuration(a="a-secret\n"))
    staged = configured.host.root / "run/relight/staged"
    assert staged.stat().st_mode & 0o077 == 0
    configured.take(wanted)
    record = configured.host.root / "var/lib/relight/configuration"
    assert record.stat().st_mode & 0o077 == 0
    assert "a-secret" not in record.read_text()
