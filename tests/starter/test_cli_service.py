"""`relight service try`: a service on a machine of a lab of its own."""

import asyncio
import json
import signal
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from lab.names import LabNames
from starter.local.lab import lab_name
from tests.inspection.conftest import ENABLED, made, unit
from tests.lab.traces import traces
from tests.starter.in_process import InProcess
from tests.starter.stores import refused
from tests.support.command_line import CommandLine
from tests.support.debs import build_deb

STEPS = [
    "fetch the package and what it depends on",
    "start a lab, Temporal and a worker",
    "provision",
    "swap to the next version",
    "roll back",
    "remove them",
]


@pytest.fixture
def relight(tmp_path: Path) -> InProcess:
    return InProcess(tmp_path / "home")


@pytest.fixture
def trials(relight: InProcess) -> Iterator[CommandLine]:
    """`relight` as a process with a temporary folder of its own, in which nothing may be left.

    Its path is short: gpg's agent has a socket in a subfolder, of a limited length.
    """
    with TemporaryDirectory(prefix="rt-", dir="/tmp") as folder:
        yield relight.processes.where(TMPDIR=folder)
        assert list(Path(folder).iterdir()) == []


async def test_without_a_service_file_a_package_has_to_be_named(relight: InProcess) -> None:
    ended = await relight("service", "try")
    refused(ended, 3, "there is no service file", "--package", "`relight init --help`")
    assert not relight.home.exists()


async def test_what_is_no_package_is_refused_before_anything_is_started(
    relight: InProcess, tmp_path: Path
) -> None:
    refused(await relight("service", "try", "--package", "./absent.deb"), 2, "absent.deb")
    empty = made(tmp_path, {}, "empty")
    refused(await relight("service", "try", "--package", str(empty)), 2, "empty has no service")
    refused(await relight("service", "try", "--package", "no name"), 2, "neither the name of")
    assert not relight.home.exists()


def service(folder: Path, command: str) -> Path:
    """Build a package of one service, locked to another package beside it."""
    depends = "try-box-data (= 1.0)"
    build_deb(folder / "data.deb", "try-box-data", "1.0", "all", fields={"Source": "try-box"})
    return made(
        folder,
        {"try-box.service": unit(f"ExecStart={command}")},
        "try-box",
        depends=depends,
        control_files={"postinst": ENABLED.format(unit="try-box.service")},
    )


@pytest.mark.lab
@pytest.mark.timeout(900)
async def test_a_service_is_provisioned_swapped_and_rolled_back(
    relight: InProcess, trials: CommandLine, tmp_path: Path
) -> None:
    deb = service(tmp_path, "/bin/sleep infinity")
    ended = await trials("service", "try", "--package", str(deb), "--json")
    assert ended.code == 0, ended
    assert ended.json["is_proven"]
    steps = ended.json["steps"]
    assert [each["name"] for each in steps] == STEPS
    assert all(each["is_proven"] for each in steps)
    assert [each["release"] for each in steps] == ["", "", "1.0", "1.0+next1", "1.0", ""]
    assert steps[3]["text"].startswith("1.0+next1 runs, /")
    assert steps[3]["text"].endswith("; no probe: proven by its processes alone")
    assert not relight.home.exists()


@pytest.mark.lab
@pytest.mark.timeout(900)
async def test_a_service_that_does_not_run_is_reported_with_the_step_and_the_reason(
    relight: InProcess, trials: CommandLine, tmp_path: Path
) -> None:
    deb = service(tmp_path, "/bin/false")
    ended = await trials("service", "try", "--package", str(deb), "--json")
    assert ended.code == 1
    steps = ended.json["steps"]
    assert [each["name"] for each in steps] == [*STEPS[:3], STEPS[-1]]
    assert [each["is_proven"] for each in steps] == [True, True, False, True]
    assert "try-box.service" in steps[2]["text"]
    assert not ended.json["is_proven"]
    said = ended.err.splitlines()
    assert f"{STEPS[2]} 1.0 ..." in said
    assert any(line.startswith(f"{STEPS[2]} 1.0: NOT PROVEN after ") for line in said)


@pytest.mark.lab
@pytest.mark.timeout(900)
@pytest.mark.parametrize("step", STEPS[1:3])
async def test_a_signal_ends_it_and_all_is_removed(
    trials: CommandLine, tmp_path: Path, step: str
) -> None:
    deb = service(tmp_path, "/bin/sleep infinity")
    words = ("service", "try", "--package", str(deb), "--json")
    async with trials.running(*words) as process:
        assert process.stderr is not None
        while not (line := await process.stderr.readline()).decode().startswith(step):
            assert line
        folder = Path(trials.environment["TMPDIR"])
        [made] = await asyncio.to_thread(lambda: [*folder.glob("relight-try-*")])
        home = made / "home"
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)  # It is ignored: the clean-up goes on.
        out, err = await process.communicate()
    assert process.returncode == 130, err
    steps = json.loads(out)["steps"]
    last = STEPS.index(step)
    assert [each["name"] for each in steps] == [*STEPS[: last + 1], STEPS[-1]]
    assert [each["is_proven"] for each in steps] == [*[True] * last, False, True]
    assert steps[last]["text"] == "it was interrupted"
    assert traces(LabNames(lab_name(home)).tag) == []
