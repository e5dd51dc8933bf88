"""A machine of the lab is a real Debian machine, from its first boot to its removal."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator

import asyncssh
import pytest

from lab.packages import PACKAGE
from tests.lab.conftest import Snapshot
from tests.lab.guests import CLIENT_KEY, Guest
from tests.support.lab import Lab

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
async def guest(lab: Lab) -> AsyncIterator[tuple[Guest, str, str]]:
    """A machine whose first boot has ended: the guest, its id, its address."""
    guest = Guest(
        files={"/etc/lantern-box/config.json": '{"secret": "squirrel"}'},
        commands=(("touch", "/var/lib/runcmd-ran"),),
    )
    machine = lab.create(guest.label, guest.user_data)
    lab.run(machine["id"], "cloud-init", "status", "--wait")
    yield guest, machine["id"], machine["address"]
    lab.delete(machine["id"])


async def test_the_first_boot_applies_the_user_data(
    lab: Lab, guest: tuple[Guest, str, str]
) -> None:
    expected, machine_id, address = guest
    assert "status: done" in lab.run(machine_id, "cloud-init", "status", "--long").stdout
    config = "/etc/lantern-box/config.json"
    assert lab.run(machine_id, "cat", config).stdout == expected.files[config]
    assert lab.run(machine_id, "stat", "-c", "%U %a", config).stdout == "root 640\n"
    assert lab.run(machine_id, "test", "-e", "/var/lib/runcmd-ran").returncode == 0
    assert await expected.ssh(address, "hostname && sudo id -u") == f"{expected.label}\n0\n"


async def test_sshd_has_the_injected_host_key_and_no_other(
    guest: tuple[Guest, str, str],
) -> None:
    expected, _, address = guest
    key = await asyncssh.get_server_host_key(address, config=None)
    assert key is not None
    assert key.export_public_key() == expected.host_key.export_public_key().replace(b"\r", b"")
    with pytest.raises(asyncssh.HostKeyNotVerifiable):
        await asyncssh.connect(
            address,
            username="keeper",
            client_keys=[CLIENT_KEY],
            known_hosts=asyncssh.import_known_hosts(
                f"{address} {Guest().host_key.export_public_key().decode()}"
            ),
            config=None,
        )


def test_systemd_is_running_and_no_unit_failed(lab: Lab, guest: tuple[Guest, str, str]) -> None:
    _, machine_id, _ = guest
    lab.until_run(machine_id, "systemctl", "is-system-running", "--wait")
    failed = lab.run(machine_id, "systemctl", "--failed", "--plain", "--no-legend").stdout
    assert failed == ""
    assert lab.run(machine_id, "cat", "/proc/1/comm").stdout == "systemd\n"


def test_it_has_debians_full_index_and_a_refresh_fails_fast(
    lab: Lab, guest: tuple[Guest, str, str]
) -> None:
    _, machine_id, _ = guest
    listed = lab.run(machine_id, "apt-cache", "pkgnames").stdout.splitlines()
    assert len(listed) > 20_000
    assert PACKAGE not in listed
    started = time.monotonic()
    refreshed = lab.run(machine_id, "apt-get", "-o", "Acquire::Retries=0", "update", check=False)
    assert "Failed to fetch" in refreshed.stderr
    assert time.monotonic() - started < 5
    assert len(lab.run(machine_id, "apt-cache", "pkgnames").stdout.splitlines()) == len(listed)


def test_it_reaches_nothing_outside_the_lab(lab: Lab, guest: tuple[Guest, str, str]) -> None:
    _, machine_id, _ = guest
    result = lab.run(machine_id, "curl", "-sS", "-m", "3", "http://192.0.2.9/", check=False)
    assert result.returncode == 7, result.stderr  # refused immediately; a timeout would be 28


def test_no_two_machines_share_an_identity(lab: Lab, guest: tuple[Guest, str, str]) -> None:
    _, machine_id, address = guest
    # Without user-data cloud-init makes the host keys.
    other = lab.create(Guest().label, region="lab-west")
    lab.run(other["id"], "cloud-init", "status", "--wait")
    identities = ("cat", "/etc/machine-id", "/etc/ssh/ssh_host_ed25519_key.pub")
    mine = lab.run(machine_id, *identities).stdout.splitlines()
    theirs = lab.run(other["id"], *identities).stdout.splitlines()
    assert not set(mine) & set(theirs)
    assert other["address"] != address
    lab.delete(other["id"])


async def test_a_reboot_keeps_the_disk(lab: Lab, guest: tuple[Guest, str, str]) -> None:
    expected, machine_id, address = guest
    leader = lab.leader(machine_id)
    lab.run(machine_id, "touch", "/var/lib/kept")
    lab.run(machine_id, "systemctl", "--no-block", "reboot")
    lab.until_rebooted(machine_id, leader)
    assert await expected.ssh(address, "ls /var/lib/kept") == "/var/lib/kept\n"
    assert lab.until_status(machine_id, "running")


async def test_a_machine_that_is_shut_down_is_stopped_and_does_not_answer(
    lab: Lab, snapshot: Snapshot
) -> None:
    machine = snapshot.start(Guest())
    lab.shut_down(machine["id"])
    with pytest.raises(OSError, match=r"No route to host|timed out"):
        await asyncio.to_thread(socket.create_connection, (machine["address"], 22), 5)
    lab.delete(machine["id"])


def test_a_machine_without_power_is_stopped(lab: Lab) -> None:
    machine = lab.create(Guest().label)
    lab.cut_power(machine["id"])
    lab.delete(machine["id"])


async def test_a_stopped_machine_can_be_started_with_its_disk(lab: Lab, snapshot: Snapshot) -> None:
    guest = Guest()
    machine = snapshot.start(guest)
    assert await guest.ssh(machine["address"], "sudo touch /var/lib/written") == ""
    for off in (lab.cut_power, lab.shut_down):
        off(machine["id"])
        lab.start(machine["id"])
        assert await guest.ssh(machine["address"], "ls /var/lib/written") == "/var/lib/written\n"
    lab.delete(machine["id"])


def test_only_a_stopped_machine_can_be_started(lab: Lab) -> None:
    machine = lab.create(Guest().label)
    start = f"/v1/machines/{machine['id']}/start"
    with lab.client() as client:
        refused = client.post(start)
        assert refused.status_code == 409
        assert "is running, not stopped" in refused.json()["detail"]
        lab.cut_power(machine["id"])
        both = [client.post(start).status_code for _ in range(2)]
    assert both == [202, 409]
    lab.until_status(machine["id"], "running")
    lab.delete(machine["id"])


async def test_a_black_hole_and_a_freeze_can_be_ended(
    lab: Lab, guest: tuple[Guest, str, str]
) -> None:
    expected, machine_id, address = guest
    await expected.ssh(address, "true")
    with lab.black_hole(machine_id), pytest.raises(TimeoutError):
        await asyncio.to_thread(socket.create_connection, (address, 22), 0.5)
    with lab.frozen(machine_id), pytest.raises(TimeoutError):
        await expected.ssh(address, "true", seconds=0.5)
    assert await expected.ssh(address, "echo back") == "back\n"


def test_deleting_takes_less_than_a_second_at_any_time(lab: Lab) -> None:
    for wait in (0.0, 0.05, 0.3):
        with lab.client() as client:
            body = {"label": Guest().label, "region": "lab-east"}
            machine = client.post("/v1/machines", json=body).json()
        time.sleep(wait)  # waits for nothing: the time of the deletion varies
        started = time.monotonic()
        lab.delete(machine["id"])
        assert time.monotonic() - started < 1
        assert not (lab.state / "machines" / machine["id"]).exists()


def test_the_console_is_shown_and_the_user_data_is_secret(
    lab: Lab, guest: tuple[Guest, str, str]
) -> None:
    expected, machine_id, _ = guest
    with lab.client() as client:
        console = client.get(f"/v1/machines/{machine_id}/console")
        shown = client.get(f"/v1/machines/{machine_id}")
    assert "OpenBSD Secure Shell server" in console.text
    log = lab.state.with_name(f"{lab.state.name}.log").read_text()
    for text in (console.text, shown.text, log):
        assert "squirrel" not in text
        assert "OPENSSH PRIVATE KEY" not in text
    seed = lab.state / "machines" / machine_id / "upper/var/lib/cloud/seed/nocloud/user-data"
    assert seed.stat().st_mode & 0o777 == 0o600
    assert lab.state.stat().st_mode & 0o777 == 0o700
    assert expected.label in shown.text
