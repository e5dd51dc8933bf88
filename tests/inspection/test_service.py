"""What a package says about its service, beside its units."""

from pathlib import Path

import pytest

from relight.inspection.packages import beside
from relight.inspection.service import NoServiceError, inspect_deb
from relight.releases.errors import RepositoryError
from tests.inspection.conftest import Inspect, made, unit

# ---------------------------------------------------------------- the probe


@pytest.mark.parametrize(
    ("lines", "port"),
    [
        (("ExecStart=/usr/bin/box --listen :9100",), 9100),
        (("ExecStart=/usr/bin/box $ARGS", "Environment=ARGS='-p 81'"), 81),
        (("ExecStart=/usr/bin/box $ARGS", 'Environment="ARGS=-p 80"'), 80),
        (("ExecStart=/usr/bin/box -p ${PORT}", "EnvironmentFile=-/etc/default/box"), 8080),
        (("ExecStart=/usr/bin/box $OPTIONS", "EnvironmentFile=/etc/default/box"), 9),
        (("Type=oneshot", "RemainAfterExit=1", "ExecStart=/a", "ExecStart=/b -p 7"), 7),
        (("ExecStart=/usr/bin/box --admin-port 9",), None),
        (("ExecStart=/usr/bin/box --port 80 --bind 127.0.0.1",), None),
        (("ExecStart=/usr/bin/box --port 80 --bind 192.0.2.1",), None),
        (("ExecStart=/usr/bin/box",), None),
    ],
)
def test_a_port_is_probed_only_if_other_hosts_reach_it(
    inspect: Inspect, lines: tuple[str, ...], port: int | None
) -> None:
    defaults = "# PORT=1\nPORT=8080\nOPTIONS='--port 9'\n"
    found = inspect({"box.service": unit(*lines), "/etc/default/box": defaults})
    assert (found.probe, found.probe_port) == ("none" if port is None else "tcp", port)
    assert found.settings().probe == found.probe


def test_why_there_is_no_probe_is_said_with_what_its_files_say(inspect: Inspect) -> None:
    box = unit("ExecStart=/usr/bin/box /etc/box/box.conf --port 80 --host localhost")
    files = {
        "/etc/box/box.conf": "# port 1\nbind 127.0.0.1 -::1\nport 6379\nexport X=1\nreport 5\n",
        "/etc/box/many.conf": "port 2\n",
        "/etc/box.conf": "http.port = 81\nlisten=82\nlisten=83\n",
    }
    found = inspect(
        {"box.service": box, **files}, control_files={"conffiles": "\n".join(files) + "\n"}
    )
    assert found.unknown == (
        "A port to probe: `--port 80` is reached from the host itself only.",
        "/etc/box/box.conf has `bind 127.0.0.1 -::1`.",
        "/etc/box/box.conf has `port 6379`.",
        "/etc/box.conf has `http.port = 81`.",
    )


# ---------------------------------------------------------------- the executable


@pytest.mark.parametrize(
    ("command", "executable"),
    [
        ("/usr/bin/box", ""),
        ("/usr/sbin/of-another-package", ""),
        ("/bin/sh -c '/usr/bin/box'", ""),
        ("/usr/bin/python3 -m box", ""),
        ("/usr/bin/python3 /opt/box/main.py", ""),
        ("/opt/box/main.py", ""),
        ("/usr/bin/java -jar /opt/box/made.jar", "/opt/box/made.jar"),
        ("/usr/bin/python3.11 -O /srv/box/run.py", "/srv/box/run.py"),
        ("/srv/box/venv/bin/box --port 80", "/srv/box/venv/bin/box"),
        ("@/usr/local/bin/box box", "/usr/local/bin/box"),
        ("/opt/box/%i/run", ""),
    ],
)
def test_an_executable_is_set_only_where_no_package_contains_it(
    inspect: Inspect, command: str, executable: str
) -> None:
    found = inspect({"box.service": unit(f"ExecStart={command}"), "/opt/box/main.py": ""})
    assert found.executable == executable
    assert any(executable in each for each in found.notes) is bool(executable)


# ---------------------------------------------------------------- packages


def test_packages_that_are_locked_to_its_version_move_with_it(inspect: Inspect) -> None:
    depends = "libc6 (>= 2.36), box-tools (= 5:1.0-1), box-data (= 1.0), a (= 5:1.0-1) | b"
    found = inspect(
        {"box.service": unit()},
        version="5:1.0-1",
        depends=depends,
        fields={"Pre-Depends": "box-core (= 5:1.0-1)"},
    )
    assert found.packages == ("box", "box-core", "box-tools")
    assert inspect({"box.service": unit()}, version="1.0").packages == ()


def test_a_unit_in_a_package_that_it_depends_on_is_found_beside_it(tmp_path: Path) -> None:
    source = {"Source": "box (1.0)"}
    units = {"box.service": unit("ExecStart=/usr/bin/box --port 80")}
    made(tmp_path, units, "box-common", fields=source, control_files={"conffiles": ""})
    made(tmp_path, {}, "box", fields=source, depends="box-common (<< 2), box-common (>= 1)")
    other = made(tmp_path, {"other.service": unit()}, "other")
    light = made(
        tmp_path, {}, "box-light", fields=source, depends="other, box (>= 1.0) | box-full, libc6"
    )
    found = inspect_deb(light, beside(light))
    assert (found.package, found.unit, found.probe_port) == ("box-light", "box.service", 80)
    assert found.packages == ("box-light", "box", "box-common")
    assert found.notes[0] == "box.service is in box-common, which the package depends on."
    alone = tmp_path / "alone"
    alone.mkdir()
    light.rename(alone / light.name)
    assert other.exists()
    with pytest.raises(NoServiceError, match="box-light has no service"):
        inspect_deb(alone / light.name, beside(alone / light.name))


def test_a_package_of_another_source_does_not_move_with_it(tmp_path: Path) -> None:
    made(tmp_path, {"box@.service": unit("ExecStart=/usr/bin/box %i")}, "box-common")
    made(tmp_path, {"box@.service": unit(install=False)}, "box-common", version="0.9")
    (tmp_path / "box-common_2.0_all.deb").write_bytes(b"no package")
    box = made(tmp_path, {}, "box-15", depends="box-common")
    found = inspect_deb(box, beside(box))
    assert (found.unit, found.packages) == ("box@*.service", ())


def test_dependencies_that_depend_on_each_other_are_read_once(tmp_path: Path) -> None:
    made(tmp_path, {}, "box-a", depends="box-b")
    made(tmp_path, {}, "box-b", depends="box-a, box-c, box-light")
    made(tmp_path, {}, "box-c")
    light = made(tmp_path, {}, "box-light", depends="box-a")
    with pytest.raises(NoServiceError, match="nor have box-a, box-b, box-c, which it depends on"):
        inspect_deb(light, beside(light))


# ---------------------------------------------------------------- files


def test_configuration_files_are_those_of_its_unit_and_of_its_package(inspect: Inspect) -> None:
    box = unit(
        "ExecStart=/usr/bin/box -c /etc/box/made.conf --folder /etc/box/",
        "EnvironmentFile=-/etc/default/box",
        "EnvironmentFile=/run/box.env",
    )
    conffiles = "/etc/box/box.conf\n/etc/logrotate.d/box\nremove-on-upgrade /etc/box/old\n"
    found = inspect(
        {"box.service": box, "/etc/box/box.conf": "", "/etc/logrotate.d/box": ""},
        control_files={"conffiles": conffiles},
    )
    assert found.configuration == ("/etc/default/box", "/etc/box/made.conf", "/etc/box/box.conf")
    assert (
        "What /run/box.env sets: the package does not contain it, and it has to exist."
        in found.unknown
    )


@pytest.mark.parametrize("line", ["ENABLED=0", 'START="no"', "START_DAEMON=false"])
def test_a_service_that_its_defaults_switch_off_is_told(inspect: Inspect, line: str) -> None:
    box = unit("ExecStart=/usr/bin/box", "EnvironmentFile=-/etc/default/box")
    found = inspect({"box.service": box, "/etc/default/box": f"ENABLE_X=0\n# {line}\n{line}\n"})
    assert any(f"/etc/default/box has `{line[:7]}" in each for each in found.unknown)
    on = inspect({"box.service": box, "/etc/default/box": f"# {line}\nENABLED=1\nENABLE_X=0\n"})
    assert not [each for each in on.unknown if each.startswith("Whether it runs")]


def test_a_reload_is_never_chosen_and_why_is_told(inspect: Inspect) -> None:
    found = inspect({"box.service": unit("ExecStart=/b", "ExecReload=/bin/kill -HUP $MAINPID")})
    assert found.on_change == "restart"
    assert any("A reload need not replace the program" in each for each in found.notes)


def test_what_a_package_says_is_visible_and_bounded(inspect: Inspect) -> None:
    box = unit("ExecStart=/usr/bin/box", unit=(f"ConditionPathExists=/\x1b[2J{'x' * 5000}",))
    sentences = inspect({"box.service": box}).notes
    assert all(each.isprintable() and len(each) <= 300 for each in sentences)
    assert any(r"\x1b[2J" in each for each in sentences)


@pytest.mark.parametrize("content", [b"", b"!<arch>\n", b"no package at all"])
def test_a_file_that_is_no_package_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "box.deb"
    file.write_bytes(content)
    with pytest.raises(RepositoryError, match=r"box\.deb: it"):
        inspect_deb(file, beside(file))
    with pytest.raises(RepositoryError, match="it cannot be read: no such file"):
        inspect_deb(tmp_path / "absent.deb", beside(file))
