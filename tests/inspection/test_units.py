"""Which unit of a package is its service: a package of each shape."""

import pytest

from relight.domain.service import OnChange
from relight.inspection.service import NoServiceError
from relight.releases.errors import RepositoryError
from tests.inspection.conftest import ENABLED, NOT_ENABLED, Inspect, unit

SOCKET = "[Socket]\nListenStream=8080\n[Install]\nWantedBy=sockets.target\n"
INIT_SCRIPT = "#!/bin/sh\n### BEGIN INIT INFO\n# Provides: box\n### END INIT INFO\nexit 0\n"


def postinst(*enabled: str, off: tuple[str, ...] = ()) -> dict[str, str]:
    parts = [ENABLED.format(unit=each) for each in enabled]
    return {"postinst": "".join((*parts, *(NOT_ENABLED.format(unit=each) for each in off)))}


@pytest.mark.parametrize(
    ("lines", "model"),
    [
        (("ExecStart=/usr/bin/box",), "simple"),
        (("Type=notify", "ExecStart=/usr/bin/box"), "notify"),
        (("Type=forking", "ExecStart=/usr/bin/box", "PIDFile=/run/box.pid"), "forking"),
        (("BusName=org.example.Box", "ExecStart=/usr/bin/box"), "dbus"),
        (("Type=oneshot", "RemainAfterExit=yes", "ExecStart=/b"), "oneshot, remains active"),
        (("Type=oneshot", "ExecStart=/usr/bin/box"), "oneshot"),
    ],
)
def test_the_only_service_is_the_one(inspect: Inspect, lines: tuple[str, ...], model: str) -> None:
    found = inspect({"other.service": unit(*lines)})
    assert (found.unit, found.reason, found.model) == ("other.service", "the only one", model)
    assert (found.more_units, found.on_change) == ((), OnChange.RESTART)


@pytest.mark.parametrize("folder", ["/usr/lib/systemd/system", "/etc/systemd/system"])
def test_units_are_found_in_each_folder_of_packages(inspect: Inspect, folder: str) -> None:
    assert inspect({f"{folder}/box.service": unit()}).unit == "box.service"


def test_the_one_in_etc_counts_and_drop_ins_are_added(inspect: Inspect) -> None:
    found = inspect(
        {
            "box.service": unit("Type=forking"),
            "/etc/systemd/system/box.service": unit("Type=exec", "ExecStart=/usr/bin/box"),
            "box.service.d/20-b.conf": "[Service]\nExecStart=\nExecStart=/usr/bin/box --port 3\n",
            "box.service.d/10-a.conf": "[Service]\nExecStart=\nExecStart=/usr/bin/box --port 2\n",
            "/etc/systemd/system/box.service.d/10-a.conf": "[Service]\nType=notify\n",
            "box.service.d/README": "[Service]\nType=forking\n",
        }
    )
    assert (found.model, found.probe, found.probe_port) == ("notify", "tcp", 3)


def test_helpers_are_told_apart(inspect: Inspect) -> None:
    found = inspect(
        {
            "a-clean.service": unit("ExecStart=/usr/bin/box clean"),
            "a-clean.timer": "[Timer]\nOnCalendar=daily\n",
            "a-dump@.service": unit("Type=simple", "ExecStart=/usr/bin/box dump"),
            "a-weekly.timer": "[Timer]\nOnCalendar=weekly\nUnit=a-dump@.service\n",
            "a-wait.service": unit("Type=oneshot", "RemainAfterExit=yes", "ExecStart=/usr/bin/w"),
            "a-once.service": unit("Type=oneshot", "ExecStart=/usr/bin/once"),
            "a-watch.path": "[Path]\nPathChanged=/etc/box\n",
            "a-watch.service": unit(install=False),
            "a-child.service": unit(install=False, unit=("BindsTo=zeta.service",)),
            "zeta.service": unit(),
        }
    )
    assert (found.unit, found.more_units) == ("zeta.service", ())
    assert found.reason == "the only one that is no helper"
    left = [each for each in found.notes if each.startswith("Not a part of it: ")]
    assert left == [
        "Not a part of it: a-child.service (another unit starts it).",
        "Not a part of it: a-clean.service (a timer starts it).",
        "Not a part of it: a-dump@.service (a timer starts it).",
        "Not a part of it: a-once.service (ends without remaining active).",
        "Not a part of it: a-wait.service (prepares the host, and runs nothing).",
        "Not a part of it: a-watch.service (another unit starts it).",
    ]


def test_what_a_path_starts_too_may_be_the_service(inspect: Inspect) -> None:
    path = "[Path]\nPathExists=/var/cache/box\n[Install]\nWantedBy=multi-user.target\n"
    assert inspect({"box.path": path, "box.service": unit()}).unit == "box.service"


@pytest.mark.parametrize(
    ("package", "named", "others"),
    [
        ("box", "box", ("abox", "crate")),
        ("box-server", "box", ("crate", "abox")),
        ("boxd", "box", ("a", "z")),
        ("box4", "box", ("a", "z")),
    ],
)
def test_the_name_of_the_package_decides(
    inspect: Inspect, package: str, named: str, others: tuple[str, ...]
) -> None:
    units = {f"{name}.service": unit() for name in (named, *others)}
    found = inspect(units, package)
    assert (found.unit, found.reason) == (
        f"{named}.service",
        f"its name is the nearest to {package}",
    )
    assert found.more_units == tuple(sorted(f"{name}.service" for name in others))


def test_an_alias_is_a_name_of_the_unit(inspect: Inspect) -> None:
    found = inspect(
        {"named.service": unit(), "abox.service": unit()},
        links={"/lib/systemd/system/box.service": "named.service"},
    )
    assert found.unit == "named.service"
    by_install = unit(install=False) + "[Install]\nAlias=box.service\nWantedBy=multi-user.target\n"
    assert inspect({"x.service": by_install, "a.service": unit()}).unit == "x.service"


def test_what_the_package_enables_goes_before_what_it_does_not(inspect: Inspect) -> None:
    units = {"a.service": unit(), "b.service": unit()}
    found = inspect(units, control_files=postinst("b.service", off=("a.service",)))
    assert (found.unit, found.reason) == ("b.service", "the package enables it")
    assert found.more_units == ()
    assert found.unknown[0].startswith("A port")


def test_several_services_that_are_enabled_are_all_proven(inspect: Inspect) -> None:
    units = {"a.service": unit(), "b.service": unit(unit=("After=a.service",))}
    found = inspect(units, control_files=postinst("a.service", "b.service"))
    # The one that starts after the others.
    assert (found.unit, found.more_units) == ("b.service", ("a.service",))
    assert not [each for each in found.unknown if each.startswith("Which unit")]


def test_units_that_are_alike_are_said_to_be(inspect: Inspect) -> None:
    found = inspect({"a.service": unit(), "b.service": unit()}, "other")
    assert (found.unit, found.more_units) == ("a.service", ("b.service",))
    assert found.unknown[0] == (
        "Which unit is the service: a.service is the first of 2 that are alike."
    )


def test_a_unit_beside_that_needs_something_of_the_host_is_not_required(inspect: Inspect) -> None:
    wanted = unit(unit=("ConditionPathExists=/etc/box/more",))
    found = inspect({"box.service": unit(), "more.service": wanted})
    assert (found.unit, found.more_units) == ("box.service", ())
    assert "Not a part of it: more.service (runs on some hosts only)." in found.notes


def test_where_each_unit_needs_something_of_the_host_the_host_decides(inspect: Inspect) -> None:
    units = {
        f"{name}.service": unit(f"ExecCondition=/usr/bin/is {name}", "ExecStart=/usr/bin/box")
        for name in ("boxa", "boxb")
    }
    found = inspect(units, control_files=postinst(*units))
    assert (found.unit, found.more_units) == ("boxa.service", ("boxb.service",))
    assert found.on_change is OnChange.TRY_RESTART
    assert "boxa.service starts only where `ExecCondition=/usr/bin/is boxa` holds." in found.notes


def test_instances_of_a_template_are_a_pattern(inspect: Inspect) -> None:
    found = inspect({"box@.service": unit("ExecStart=/usr/bin/box /etc/box/%i.conf")})
    assert (found.unit, found.model) == ("box@*.service", "simple, instances")
    assert found.unknown[0].startswith("Which instances run: those that a host has.")
    plain = inspect({"box@.service": unit(), "box.service": unit()})
    assert plain.unit == "box.service"


@pytest.mark.parametrize(
    ("lines", "install", "chosen"),
    [
        (("ExecStart=/usr/bin/box", "Environment=NAME=%i"), "", "box@1.service"),
        (("ExecStart=/usr/bin/box", "ExecStopPost=/bin/rm -f /run/%i"), "", "box@1.service"),
        (("ExecStart=/usr/bin/box", "Environment=FILE=/etc/%i"), "", "box@*.service"),
        (("ExecStart=/usr/bin/box", "EnvironmentFile=/etc/%I"), "", "box@*.service"),
        (("ExecStart=/usr/bin/box %i",), "", "box@*.service"),
        (("ExecStart=/usr/bin/box %i",), "DefaultInstance=main\n", "box@main.service"),
    ],
)
def test_an_instance_is_named_where_it_needs_nothing_of_the_host(
    inspect: Inspect, lines: tuple[str, ...], install: str, chosen: str
) -> None:
    found = inspect({"box@.service": unit(*lines) + install})
    assert found.unit == chosen
    says = f"Which instances run: {chosen} is started"
    assert found.unknown[0].startswith(says) is (chosen != "box@*.service")
    assert inspect({"box@.service": unit(*lines, install=False)}).unit == "box@*.service"


TARGET = "[Unit]\nDescription=all of them\n[Install]\nWantedBy=multi-user.target\n"


def grouped(text: str) -> str:
    """Return a unit file that a target of the package starts, and not the system."""
    return text.replace("multi-user.target", "d.target")


@pytest.mark.parametrize(
    ("main", "helper"),
    [
        (("Wants=d-gc.service", "Before=d-gc.service"), ()),
        (("Requires=d-gc.service",), ("After=d@1.service",)),
        ((), ("PartOf=d@1.service",)),
        ((), ("BindsTo=d@1.service", "After=d@1.service")),
    ],
)
@pytest.mark.parametrize("package", ["box", "gc-resolver", "d-gc-x"])
def test_a_unit_that_another_one_starts_with_itself_is_its_helper(
    inspect: Inspect, main: tuple[str, ...], helper: tuple[str, ...], package: str
) -> None:
    """As of knot-resolver: the package enables a target and a helper, and names no instance."""
    units = {
        "d.target": TARGET,
        "d@.service": grouped(unit("Type=notify", "ExecStart=/usr/bin/box", unit=main)),
        "d-gc.service": grouped(unit("ExecStart=/usr/bin/gc", unit=helper)),
    }
    enabled = postinst("d.target", "d-gc.service")
    masked = {"/lib/systemd/system/d.service": "/dev/null"}
    found = inspect(units, package, control_files=enabled, links=masked)
    assert (found.unit, found.more_units) == ("d@1.service", ("d-gc.service",))
    assert found.reason == "it starts d-gc.service with itself"
    assert found.model == "notify, instances"
    assert "Not a part of it: d.service (is masked)." in found.notes
    # A target that does not start with the system starts nothing.
    off = postinst("d-gc.service", off=("d.target",))
    assert inspect(units, package, control_files=off, links=masked).more_units == ()


def test_what_a_service_waits_for_is_no_helper_of_it(inspect: Inspect) -> None:
    watches = unit(unit=("Requires=b.service", "After=b.service"))
    found = inspect({"a.service": watches, "b.service": unit()}, "b-server")
    assert (found.unit, found.more_units) == ("b.service", ("a.service",))
    same = unit(unit=("Wants=box.service",))
    assert inspect({"box.service": unit(), "other.service": same}).unit == "box.service"


@pytest.mark.parametrize(
    ("more", "chosen"),
    [({}, "box@*.service"), ({"box@default.service": ""}, "box@default.service")],
)
def test_a_unit_that_runs_nothing_stands_for_its_parts(
    inspect: Inspect, more: tuple[str, ...], chosen: str
) -> None:
    whole = unit("Type=oneshot", "RemainAfterExit=on", "ExecStart=/bin/true")
    part = unit("Type=notify", "ExecStart=/usr/bin/box", unit=("PartOf=box.service",))
    units = {"box.service": whole, "box@.service": part, **dict.fromkeys(more, part)}
    found = inspect(units, control_files=postinst("box.service"))
    assert (found.unit, found.more_units) == (chosen, ())
    assert found.reason == "box.service runs nothing itself, and this is a part of it"
    assert "Not a part of it: box.service (runs nothing itself)." in found.notes


def test_a_socket_is_a_unit_of_its_service_and_tells_the_port(inspect: Inspect) -> None:
    units = {"box.service": unit(install=False), "box.socket": SOCKET}
    found = inspect(units, control_files=postinst("box.socket"))
    assert (found.unit, found.more_units) == ("box.service", ("box.socket",))
    assert (found.model, found.probe, found.probe_port) == ("simple, socket-activated", "tcp", 8080)
    assert not [each for each in found.notes if "does not enable" in each]


@pytest.mark.parametrize(
    ("socket", "given"),
    [
        (SOCKET, {"control_files": postinst("box.service", off=("box.socket",))}),
        (f"[Unit]\nConflicts=box.service\n{SOCKET}", {}),
        ("[Socket]\nListenStream=8080\n", {}),
        ("[Socket]\nListenStream=8080\nService=other.service\n", {}),
    ],
)
def test_a_socket_that_is_not_open_with_the_service_is_none_of_its_units(
    inspect: Inspect, socket: str, given: dict[str, dict[str, str]]
) -> None:
    found = inspect({"box.service": unit(), "box.socket": socket}, **given)
    assert (found.unit, found.more_units, found.probe) == ("box.service", (), "none")


def test_a_socket_that_accepts_starts_instances(inspect: Inspect) -> None:
    accepts = SOCKET.replace("[Install]", "Accept=yes\n[Install]")
    found = inspect({"box@.service": unit(install=False), "box.socket": accepts})
    assert (found.unit, found.more_units) == ("box@*.service", ("box.socket",))


def test_a_system_v_script_is_a_service_unless_a_unit_has_its_name(inspect: Inspect) -> None:
    enabled = {"postinst": "#!/bin/sh\nupdate-rc.d box defaults >/dev/null\n"}
    script = {"/etc/init.d/box": INIT_SCRIPT, "/etc/init.d/README": "none", "/etc/default/box": ""}
    found = inspect(script, control_files=enabled)
    assert (found.unit, found.model) == ("box.service", "System V script")
    assert found.configuration == ("/etc/default/box",)
    assert not [each for each in found.notes if "does not enable" in each]
    both = inspect({**script, "box.service": unit("Type=exec", "ExecStart=/usr/bin/box")})
    assert (both.model, both.more_units) == ("exec", ())
    aliased = inspect({**script, "boxd.service": unit("ExecStart=/b") + "Alias=box.service\n"})
    assert (aliased.unit, aliased.more_units) == ("boxd.service", ())


def test_one_that_is_not_enabled_is_said_to_be(inspect: Inspect) -> None:
    disabled = {"postinst": "#!/bin/sh\nupdate-rc.d box defaults-disabled\n"}
    script = inspect({"/etc/init.d/box": INIT_SCRIPT}, control_files=disabled)
    plain = inspect({"box.service": unit()}, control_files=postinst(off=("box.service",)))
    for found in (script, plain):
        assert "The package does not enable box.service: a first boot does." in found.notes


def test_masked_units_are_told(inspect: Inspect) -> None:
    masked = {"/etc/systemd/system/box.service": "/dev/null"}
    units = {"/usr/lib/systemd/system/box.service": unit(), "other.service": unit()}
    found = inspect(units, links=masked)
    assert (found.unit, found.more_units) == ("other.service", ())
    assert "Not a part of it: box.service (is masked)." in found.notes
    by_script = {"postinst": "#!/bin/sh\nsystemctl mask box.service\n"}
    alone = inspect({"box.service": unit()}, control_files=by_script)
    assert alone.unit == "box.service"
    assert "How box.service starts: its package masks it, so it cannot." in alone.unknown
    # debhelper's script unmasks, and the one of a removal masks.
    removal = {**postinst("box.service"), "postrm": "#!/bin/sh\nsystemctl mask box.service\n"}
    assert inspect({"box.service": unit()}, control_files=removal).unit == "box.service"


def test_a_link_in_wants_enables(inspect: Inspect) -> None:
    wants = {"/lib/systemd/system/multi-user.target.wants/b.service": "../b.service"}
    units = {"a.service": unit(), "b.service": unit(install=False)}
    found = inspect(units, links=wants, control_files=postinst(off=("a.service",)))
    assert (found.unit, found.more_units) == ("b.service", ())


def test_a_generator_is_told(inspect: Inspect) -> None:
    found = inspect(
        {"box.service": unit(), "/lib/systemd/system-generators/box-generator": "#!/bin/sh\n"}
    )
    assert "Which units its generator makes at boot." in found.unknown


def test_a_package_without_a_service_is_refused(inspect: Inspect) -> None:
    with pytest.raises(NoServiceError, match="box has no service: no unit below"):
        inspect({"box.timer": "[Timer]\nOnCalendar=daily\n", "/etc/init.d/README": "none"})


def test_a_unit_with_a_name_that_no_setting_takes_is_refused(inspect: Inspect) -> None:
    with pytest.raises(RepositoryError, match="box: its unit: "):
        inspect({"bo\x1bx.service": unit()})
