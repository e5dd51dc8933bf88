"""The daemon's service, started anew."""

import pytest

from messages.faults import FaultClass
from remote import service
from remote.errors import CommandFailedError, ServiceFailedError
from tests.support.memory_shell import MemoryHost, Unit, failed, running

UNIT = "lantern-box.service"


async def test_systemd_reads_its_files_before_it_starts_the_unit() -> None:
    host = MemoryHost(unit=running())
    assert (await service.restart(host, UNIT)).is_running
    assert host.ran.index("systemctl daemon-reload") < host.ran.index(
        f"systemctl restart -- {UNIT}"
    )
    assert host.count("systemctl --quiet enable") == 0


async def test_a_unit_that_is_disabled_is_enabled() -> None:
    unit = running()
    unit.unit_file = "disabled"
    host = MemoryHost(unit=unit)
    await service.restart(host, UNIT)
    assert host.count(f"systemctl --quiet enable -- {UNIT}") == 1


@pytest.mark.parametrize(
    ("unit", "kind", "fault_class"),
    [
        (Unit("masked", unit_file="masked"), "unit-masked", FaultClass.HOST),
        # Its old process runs on: only a start shows that it is masked.
        (Unit("masked", "active", "running", "masked"), "unit-masked", FaultClass.HOST),
        (Unit("loaded", "active", "running", "masked-runtime"), "unit-masked", FaultClass.HOST),
        (Unit(), "unit-not-found", FaultClass.RELEASE),
    ],
)
async def test_a_unit_that_cannot_be_started_is_left_alone(
    unit: Unit, kind: str, fault_class: FaultClass
) -> None:
    host = MemoryHost(unit=unit, journal=["its last words"])
    with pytest.raises(ServiceFailedError) as caught:
        await service.restart(host, UNIT)
    assert (caught.value.kind, caught.value.fault_class) == (kind, fault_class)
    assert caught.value.journal == ("its last words",)
    assert host.count("systemctl restart") == 0
    assert host.count("systemctl --quiet enable") == 0


async def test_a_unit_that_does_not_start_says_why() -> None:
    host = MemoryHost(
        looks=[running(), failed(3)],
        journal=["cannot bind", "exiting"],
        answers={"systemctl restart": (1, "", "Job for lantern-box.service failed.\n")},
    )
    with pytest.raises(ServiceFailedError, match=r"did not start: failed \(exit-code\)") as caught:
        await service.restart(host, UNIT)
    error = caught.value
    assert (error.kind, error.exit_code) == ("unit-failed", 1)
    assert error.stderr == "Job for lantern-box.service failed.\n"
    assert error.journal == ("cannot bind", "exiting")
    # journald may not have written down a line that was said just now.
    assert host.ran.index("journalctl --sync") < len(host.ran) - 1


async def test_a_systemd_that_cannot_be_asked_is_an_error() -> None:
    host = MemoryHost(answers={"systemctl daemon-reload": (1, "", "Connection timed out\n")})
    with pytest.raises(CommandFailedError, match="Connection timed out"):
        await service.restart(host, UNIT)
    assert host.count("systemctl restart") == 0
