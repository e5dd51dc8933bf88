"""A change of the service's configuration harms nothing: names alike, links, an early end."""

import os

import pytest

from relight.domain.configuration import OnConfigurationChange
from relight.hosts import host_program
from relight.hosts.configuration import HostConfiguration, HostFile
from relight.hosts.host_program import Change
from relight.hosts.observation import parse
from relight.hosts.templates import environment_value, yaml_text
from tests.hosts.conftest import ServingHost
from tests.hosts.test_relight_host_configuration import RELOAD, RESTART, ConfiguredHost
from tests.support.apt_root import UNIT

NOBODY = 65534


@pytest.fixture
def configured(settled: ServingHost, process: int) -> ConfiguredHost:
    return ConfiguredHost(settled, process)


def of(host: ConfiguredHost, on_change: str = "none", **modes: str) -> HostConfiguration:
    """Return a configuration of files in `etc/app`, each with its mode and its name as the text."""
    files = tuple(
        HostFile(str(host.path(f"app/{name}")), mode, "root", "root", name.encode())
        for name, mode in sorted((name.replace("_", "."), mode) for name, mode in modes.items())
    )
    return HostConfiguration(files, (), OnConfigurationChange(on_change), b"key")


def test_files_whose_names_are_alike_are_told_apart(configured: ConfiguredHost) -> None:
    both = of(configured, dbxkey="644", db_key="600")
    assert configured.take(both) == []
    assert configured.path("app/db.key").stat().st_mode & 0o777 == 0o600
    assert configured.path("app/dbxkey").stat().st_mode & 0o777 == 0o644
    assert configured.observed()[:2] == (both.digest, ())
    assert configured.take(of(configured, dbxkey="644")) == []
    assert not configured.path("app/db.key").exists()
    assert configured.path("app/dbxkey").exists()


def test_what_was_there_before_survives_a_way_back_that_is_cut_short(
    configured: ConfiguredHost,
) -> None:
    originals = {configured.path(name): f"{name} of the host\n" for name in ("app/a", "app/b")}
    configured.path("app").mkdir()
    for path, text in originals.items():
        path.write_text(text)
    configured.take(of(configured, a="644", b="644"))
    kill = 'case "$*" in *before*) kill -9 $PPID ;; esac\nexec /usr/bin/rm "$@"'
    configured.host.put_program("rm", kill)
    assert configured.change(None).returncode == -9
    (configured.host.root / "programs/rm").unlink()
    assert configured.change(None).returncode == 0
    assert {path: path.read_text() for path in originals} == originals
    assert configured.observed()[:2] == ("", ())


@pytest.mark.parametrize("signal", ["TERM", "KILL"])
def test_a_change_that_is_stopped_leaves_no_rule_against_starts(
    configured: ConfiguredHost, signal: str
) -> None:
    wanted = of(configured, a="644")
    configured.stage(wanted)
    kill = f"kill -s {signal} $(cat {configured.host.root}/change)"
    configured.host.put_program("dpkg-deb", kill)
    change = Change("1.1", deb=configured.serving.deb("1.1"))
    words = " ".join([str(configured.host.program), "change", wanted.digest, *change.words()])
    configured.host.run(f"echo $$ >{configured.host.root}/change; exec {words}")
    (configured.host.root / "programs/dpkg-deb").unlink()
    policy = configured.host.root / "usr/sbin/policy-rc.d"
    assert policy.exists() == (signal == "KILL")
    assert configured.host.call("stop", "relight-a.service").returncode == 0
    assert not policy.exists()
    assert not (configured.host.root / "run/relight/held").exists()


def test_a_rule_that_a_killed_change_left_has_no_effect_after_a_reboot(
    configured: ConfiguredHost,
) -> None:
    configured.host.take_short_form()
    configured.host.install("1.1", deb=configured.serving.deb("1.1"))
    policy = str(configured.host.root / "usr/sbin/policy-rc.d")
    assert configured.host.run(f"{policy} {UNIT} start")[0] == 101
    (configured.host.root / "run/relight/held").unlink()  # as a reboot does
    assert configured.host.run(f"{policy} {UNIT} start")[0] == 0


def test_a_service_that_is_reloaded_for_a_release_restarts_for_such_a_configuration(
    configured: ConfiguredHost,
) -> None:
    told = configured.host.root / "etc/relight/host"
    told.write_text(told.read_text().replace("ON_CHANGE=restart", "ON_CHANGE=reload"))
    assert configured.take(of(configured, "restart", a="644")) == [RESTART]
    assert configured.take(of(configured, "reload", a="644", b="644")) == [RELOAD]


def test_no_link_of_another_user_is_followed(configured: ConfiguredHost) -> None:
    theirs, elsewhere = configured.path("theirs"), configured.path("elsewhere")
    for folder in (theirs, elsewhere):
        folder.mkdir()
    os.chown(theirs, NOBODY, NOBODY)
    (theirs / "conf").symlink_to(elsewhere)
    wanted = configured.configuration(theirs__conf__x="one\n")
    configured.stage(wanted)
    refused = configured.change(wanted)
    assert refused.returncode == host_program.NOT_WRITTEN_EXIT_CODE
    assert "is a link in a folder to which others may write" in refused.stderr
    assert list(elsewhere.iterdir()) == []
    # A link that only root can have made is followed.
    configured.path("own").symlink_to(elsewhere)
    configured.take(configured.configuration(own__x="one\n"))
    assert (elsewhere / "x").read_text() == "one\n"


def test_a_file_of_the_package_that_the_configuration_replaces_is_no_damage(
    configured: ConfiguredHost,
) -> None:
    file = configured.path("app.conf")
    wanted = HostConfiguration(
        (HostFile(str(file), "644", "root", "root", b"ours\n"),),
        (),
        OnConfigurationChange.NONE,
        b"key",
    )
    configured.take(wanted)
    line = f"??5??????   {file}"
    configured.host.put_program("dpkg", f"echo '{line}'; exit 1")
    assert parse(configured.host.call("observe").stdout).damaged == ()


def test_no_secret_is_in_what_a_check_says_however_it_was_written() -> None:
    secrets = ('pa$s"wo\nrd', "s3cr3t$xyz")
    made = HostConfiguration((), (), OnConfigurationChange.NONE, b"key", secrets)
    for secret in secrets:
        for written in (secret, environment_value(secret), yaml_text(secret), repr(secret)):
            said = made.masked(f"line 7: bad value {written}")
            assert "***" in said
            for part in ("pa$", "s3cr3t", "pa\\$", "rd"):
                assert part not in said
