"""A lab leaves nothing behind, however it ends; two labs do not affect each other."""

import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from ipaddress import IPv4Network
from pathlib import Path

import httpx
import pytest

from lab import lifecycle
from lab.errors import LabError
from lab.names import LabNames
from tests.lab.guests import Guest
from tests.lab.traces import traces
from tests.support.lab import (
    Lab,
    log_of,
    new_name,
    running_lab,
    start_lab,
    stop,
    until,
    until_ready,
)
from tests.support.processes import alive

pytestmark = pytest.mark.lab


@contextlib.contextmanager
def lab_with_a_machine(state: Path) -> Iterator[Lab]:
    """A lab that the test ends; leftovers are removed at the end in any case."""
    name = new_name()
    process = start_lab(name, state)
    try:
        lab = until_ready(name, state, process)
        lab.create(Guest().label)
        assert len(traces(name, lab.network)) > 5
        yield lab
    finally:
        lifecycle.sweep(name, state)
        process.wait(10)


def python_lab(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "lab", *arguments], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_lab_without_leftovers(tmp_path: Path, number: signal.Signals) -> None:
    with lab_with_a_machine(tmp_path / "state") as lab:
        assert lifecycle.leftovers(lab.name, lab.state) != []
        stop(lab.process, number)
        assert lab.process.returncode == 0
        assert traces(lab.name, lab.network) == []
        assert lifecycle.leftovers(lab.name, lab.state) == []
        assert not (lab.state / "lab.json").exists()
        assert not (lab.state / "machines").exists()


def test_the_next_start_removes_the_leftovers_of_a_killed_lab(tmp_path: Path) -> None:
    with lab_with_a_machine(tmp_path / "state") as lab:
        lab.process.kill()
        lab.process.wait()
        leftovers = lifecycle.leftovers(lab.name, lab.state)
        assert any("processes in" in leftover for leftover in leftovers)
        assert traces(lab.name, lab.network) != []
        with running_lab(lab.state, lab.name) as again:
            assert again.machines() == []
            assert again.network == lab.network
            assert "removed a leftover of an earlier lab" in log_of(lab.state).read_text()
        assert traces(lab.name, lab.network) == []


def test_down_removes_a_killed_lab_without_its_state_folder(tmp_path: Path) -> None:
    with lab_with_a_machine(tmp_path / "state") as lab:
        lab.process.kill()
        lab.process.wait()
        elsewhere = tmp_path / "elsewhere"
        down = python_lab("down", "--name", lab.name, "--state", str(elsewhere))
        assert down.returncode == 0, down.stderr
        assert "network namespace" in down.stderr
        assert traces(lab.name, lab.network) == []


def test_down_stops_a_running_lab(tmp_path: Path) -> None:
    with lab_with_a_machine(tmp_path / "state") as lab:
        down = python_lab("down", "--name", lab.name, "--state", str(lab.state))
        assert f"process {lab.process.pid}" in down.stderr
        assert lab.process.wait(10) == 0
        assert traces(lab.name, lab.network) == []


def test_a_lab_ends_with_its_parent(tmp_path: Path) -> None:
    state, name = tmp_path / "state", new_name()
    shell = start_lab(name, state, wrapper=("sh", "-c", '"$@" & wait', "sh"))
    file = state / "lab.json"
    until(file.exists, 60, lambda: log_of(state).read_text())
    shell.kill()
    shell.wait()
    until(lambda: traces(name) == [], 15, lambda: str(traces(name)))


def test_a_second_lab_with_the_same_name_is_refused(lab: Lab) -> None:
    other = lab.state.with_name("other")
    second = python_lab("serve", "--name", lab.name, "--state", str(other))
    assert second.returncode == 1
    assert "is running already, as process" in second.stderr
    assert "Traceback" not in second.stderr
    assert lab.machines() is not None


def test_two_labs_run_at_the_same_time_without_contact(lab: Lab, tmp_path: Path) -> None:
    label = Guest().label
    mine = lab.create(label)
    with running_lab(tmp_path / "state") as other:
        assert not IPv4Network(lab.network).overlaps(IPv4Network(other.network))
        assert other.machines() == []
        theirs = other.create(label)
        assert theirs["address"] != mine["address"]
        with other.client() as client:
            refused = client.get("/v1/machines", headers={"Authorization": f"Bearer {lab.token}"})
        assert refused.status_code == 401
    assert lab.until_status(mine["id"], "running")
    assert lab.run(mine["id"], "true").returncode == 0
    assert httpx.get(f"{lab.repository_url}/dists/stable/InRelease").status_code == 200
    lab.delete(mine["id"])


def test_a_labs_range_has_an_unreachable_route(lab: Lab) -> None:
    routes = subprocess.run(
        ["ip", "route", "show", "type", "unreachable"], capture_output=True, text=True, check=True
    )
    assert any(line.split()[1] == lab.network for line in routes.stdout.splitlines())


@pytest.mark.parametrize("name", ["", "UPPER", "a" * 13, "a/b", "-a"])
def test_an_invalid_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(LabError, match="not a valid name for a lab"):
        lifecycle.leftovers(name, tmp_path)


def test_a_bridge_keeps_its_hardware_address_as_machines_come_and_go(lab: Lab) -> None:
    """Otherwise the other machines would send to an address that nobody has."""
    address = Path(f"/sys/class/net/{LabNames(lab.name).bridge}/address")
    addresses = [address.read_text()]
    machines = [lab.create(f"port-{number}")["id"] for number in range(3)]
    addresses.append(address.read_text())
    for machine in machines:
        lab.delete(machine)
    addresses.append(address.read_text())
    assert addresses == [addresses[0]] * 3


def test_sweeping_an_unknown_lab_removes_nothing(tmp_path: Path) -> None:
    assert lifecycle.sweep(new_name(), tmp_path / "nowhere") == []


def test_the_processes_of_a_machine_end_with_it(lab: Lab) -> None:
    machine = lab.create(Guest().label)
    leader = lab.leader(machine["id"])
    assert alive(leader)
    lab.delete(machine["id"])
    assert not alive(leader)
    assert not Path(f"/run/netns/{lab.namespace(machine['id'])}").exists()
    assert not lab.cgroup(machine["id"]).exists()
