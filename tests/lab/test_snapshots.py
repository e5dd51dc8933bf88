"""A machine from a snapshot has the disk of the original machine and its own identity."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.lab.conftest import DELETED, HOST_KEY, KEPT, Snapshot
from tests.lab.guests import Guest
from tests.support.lab import Lab

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def guest() -> Guest:
    return Guest()


@pytest.fixture(scope="module")
def machine(lab: Lab, snapshot: Snapshot, guest: Guest) -> Iterator[dict[str, Any]]:
    """A machine that started from the snapshot."""
    machine = snapshot.start(guest)
    yield machine
    lab.delete(machine["id"])


async def test_it_has_the_disk_of_the_original_and_its_own_host_key_and_name(
    machine: dict[str, Any], guest: Guest
) -> None:
    files = await guest.ssh(machine["address"], f"hostname; ls {KEPT} {DELETED} 2>&1 || true")
    assert files.splitlines() == [
        guest.label,
        f"ls: cannot access '{DELETED}': No such file or directory",
        KEPT,
    ]


def test_its_host_key_is_the_only_one_and_readable_by_root_only(
    lab: Lab, machine: dict[str, Any]
) -> None:
    listed = lab.run(machine["id"], "sh", "-c", "stat -c '%n %U %a' /etc/ssh/ssh_host_*").stdout
    assert listed == f"{HOST_KEY} root 600\n"


def test_cloud_init_does_not_run(lab: Lab, machine: dict[str, Any]) -> None:
    status = lab.run(machine["id"], "cloud-init", "status", check=False).stdout
    assert "disabled" in status


def test_each_machine_has_its_own_identity_also_the_original(
    lab: Lab, snapshot: Snapshot, machine: dict[str, Any]
) -> None:
    other = snapshot.start(Guest())
    lab.start(snapshot.original["id"])
    lab.until_run(snapshot.original["id"], "true")
    machines = (machine, other, snapshot.original)
    identities = [lab.run(each["id"], "cat", "/etc/machine-id").stdout for each in machines]
    assert len(set(identities)) == len({each["address"] for each in machines}) == 3
    lab.cut_power(snapshot.original["id"])
    lab.delete(other["id"])


def test_a_running_machine_and_a_name_in_use_are_refused(
    lab: Lab, snapshot: Snapshot, machine: dict[str, Any]
) -> None:
    with lab.client() as client:
        running = client.post(f"/v1/machines/{machine['id']}/snapshots", json={"name": "other"})
        taken = client.post(
            f"/v1/machines/{snapshot.original['id']}/snapshots", json={"name": snapshot.name}
        )
    assert (running.status_code, taken.status_code) == (409, 409)
    assert "is running, not stopped" in running.json()["detail"]
    assert "a snapshot with the name guest exists" in taken.json()["detail"]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"image": "unknown"}, "there is no image unknown; there is debian-12"),
        ({"files": {"/etc/a": "squirrel"}}, "files need a snapshot"),
        ({"image": "guest", "user_data": "squirrel"}, "takes no user_data"),
        ({"image": "guest", "files": {"/etc/../a": "squirrel"}}, "files"),
        ({"image": "guest", "files": {"etc/a": "squirrel"}}, "files"),
    ],
)
def test_an_invalid_request_is_refused_with_the_reason(
    lab: Lab, snapshot: Snapshot, change: dict[str, object], text: str
) -> None:
    body = {"label": Guest().label, "region": "lab-east", **change}
    with lab.client() as client:
        answer = client.post("/v1/machines", json=body)
    assert answer.status_code == 422
    assert text in answer.text
    assert "squirrel" not in answer.text
    assert snapshot.name == "guest"
