"""A snapshot of a provisioned machine, from which further machines start in a second."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.lab.guests import Guest
from tests.support.lab import Lab

HOST_KEY = "/etc/ssh/ssh_host_ed25519_key"
KEPT, DELETED = "/var/lib/kept", "/usr/bin/curl"


@dataclass(frozen=True)
class Snapshot:
    """A snapshot of a machine that had written `KEPT` and deleted `DELETED`.

    Attributes:
        name: its name.
        original: the machine that was copied; it is stopped.
    """

    lab: Lab
    name: str
    original: dict[str, Any]

    def start(self, guest: Guest) -> dict[str, Any]:
        """Start a machine with the guest's label and host key, and wait until it is up."""
        created = self.lab.request_machine(
            label=guest.label,
            image=self.name,
            files={HOST_KEY: guest.host_key.export_private_key().decode()},
        )
        machine = self.lab.until_status(created["id"], "running")
        self.lab.until_run(machine["id"], "systemctl", "is-system-running", "--wait")
        return machine


@pytest.fixture(scope="session")
def snapshot(lab: Lab) -> Iterator[Snapshot]:
    """The snapshot."""
    guest = Guest(commands=(("touch", KEPT), ("rm", DELETED)))
    original = lab.create(guest.label, guest.user_data)
    lab.run(original["id"], "cloud-init", "status", "--wait")
    lab.shut_down(original["id"])
    lab.take_snapshot(original["id"], "guest")
    yield Snapshot(lab, "guest", original)
    lab.delete(original["id"])
