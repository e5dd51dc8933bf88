"""The service file: settings of the service in a file of their own, below the environment."""

from pathlib import Path

import pytest

from relight.doctor.setting_origins import setting_origins, unknown_variables
from relight.service_settings import service_files
from relight.setting_groups import SettingsError
from relight.settings import load_settings

REDIS = """
package = "redis-server"
unit = "redis-server.service"
more_units = ["redis.socket"]
packages = ["redis-server", "redis-tools"]
probe = "tcp"
probe_port = 6379
change_deadline = "PT5M"
"""


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("RELIGHT_HOME", str(tmp_path))
    return tmp_path


def test_it_is_read_from_the_home_folder(home: Path) -> None:
    (home / "service.toml").write_text(REDIS)
    service = load_settings().service
    assert (service.package, service.unit) == ("redis-server", "redis-server.service")
    assert (service.more_units, service.packages) == (
        ("redis.socket",),
        ("redis-server", "redis-tools"),
    )
    assert (service.probe, service.probe_port) == ("tcp", 6379)
    assert service.change_deadline.total_seconds() == 300
    assert service.probe_path == "/healthz"  # Not in the file: the default.


def test_without_one_all_is_as_by_default() -> None:
    assert load_settings().service.package == "lantern-box"


def test_the_environment_and_the_file_env_count_before_it(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "service.toml").write_text(REDIS)
    (home / "env").write_text("RELIGHT_SERVICE__PROBE_PORT=1\nRELIGHT_SERVICE__UNIT=a.service\n")
    monkeypatch.setenv("RELIGHT_SERVICE__PROBE_PORT", "6380")
    monkeypatch.setenv("RELIGHT_SERVICE__PROBE", "")  # An empty variable is none.
    service = load_settings().service
    assert (service.probe, service.probe_port, service.unit) == ("tcp", 6380, "a.service")


@pytest.mark.parametrize("by", ["environment", "env"])
def test_another_file_can_be_named(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    (home / "service.toml").write_text('package = "other"')
    file = tmp_path / "redis.toml"
    file.write_text(REDIS)
    if by == "env":
        (home / "env").write_text(f"RELIGHT_SERVICE_FILE={file}\n")
    else:
        monkeypatch.setenv("RELIGHT_SERVICE_FILE", str(file))
    assert load_settings().service.package == "redis-server"


def test_one_that_is_named_has_to_exist(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RELIGHT_SERVICE_FILE", str(home / "absent.toml"))
    with pytest.raises(SettingsError, match=r"RELIGHT_SERVICE_FILE names .*absent\.toml, which"):
        load_settings()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('packge = "redis"', r"no settings of the service: packge \(is package meant\?\)"),
        ('[service]\npackage = "redis"', "no settings of the service: service"),
        ("zzz = 1\nprobe_prt = 2", r"zzz, probe_prt \(is probe_port meant\?\)"),
        ('unit = "a.timer"', "cannot be used: unit: "),
        ('more_units = "a.socket"', "cannot be used: more_units: it is no JSON list"),
        ('probe_port = "many"', "cannot be used: probe_port: "),
        ("probe_port = 99999", "cannot be used: probe_port: "),
        ('probe = "icmp"', "cannot be used: probe: "),
        ("package = redis", "is no TOML: "),
        ('package = "a"\npackage = "b"', "is no TOML: "),
    ],
)
def test_what_cannot_be_used_is_refused_with_the_name_of_the_file(
    home: Path, text: str, why: str
) -> None:
    file = home / "service.toml"
    file.write_text(text)
    with pytest.raises(SettingsError, match=why) as caught:
        load_settings()
    assert str(file) in str(caught.value)


def test_bytes_that_are_no_text_are_refused_with_the_name_of_the_file(home: Path) -> None:
    (home / "service.toml").write_bytes(b'package = "\xff"')
    with pytest.raises(SettingsError, match=r"service\.toml is no TOML"):
        load_settings()
    (home / "service.toml").unlink()
    (home / "service.toml").mkdir()
    with pytest.raises(SettingsError, match=r"service\.toml cannot be read: is a directory"):
        load_settings()


def test_a_variable_can_complete_what_the_file_begins(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "service.toml").write_text('probe = "command"')
    with pytest.raises(SettingsError, match="RELIGHT_SERVICE__PROBE_COMMAND is not set"):
        load_settings()
    monkeypatch.setenv("RELIGHT_SERVICE__PROBE_COMMAND", '["/usr/local/bin/check"]')
    assert load_settings().service.probe_command == ("/usr/local/bin/check",)


def test_relative_folders_are_beside_the_file(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "service.toml").write_text('files = "templates"\nsecrets_file = "/etc/secrets"')
    monkeypatch.chdir("/")
    service = load_settings().service
    assert (service.files, service.secrets_file) == (home / "templates", Path("/etc/secrets"))


def test_the_templates_of_the_default_package_are_not_given_to_another(
    home: Path, tmp_path: Path
) -> None:
    default = service_files(load_settings())
    assert default is not None
    assert (default / "etc").is_dir()
    (home / "service.toml").write_text('package = "redis-server"')
    assert service_files(load_settings()) is None
    (home / "service.toml").write_text('package = "redis-server"\nfiles = "of-redis"')
    assert service_files(load_settings()) == home / "of-redis"


def test_each_setting_has_the_file_as_its_origin(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "service.toml").write_text(REDIS)
    monkeypatch.setenv("RELIGHT_SERVICE__PROBE_PORT", "6380")
    settings = load_settings()
    origins = {each.name: (each.value, each.origin) for each in setting_origins(settings)}
    file = str(home / "service.toml")
    assert origins["RELIGHT_SERVICE__PACKAGE"] == ("redis-server", file)
    assert origins["RELIGHT_SERVICE__PROBE_PORT"] == ("6380", "environment")
    assert origins["RELIGHT_SERVICE__PROBE_PATH"] == ("/healthz", "default")
    assert unknown_variables(settings) == []
