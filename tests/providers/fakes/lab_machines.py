"""Machines of a lab behind a fake vendor: its API is one vendor's, its machines are real hosts."""

import base64
from collections.abc import Mapping
from http import HTTPStatus

import httpx

from tests.providers.fakes.machines import Machines, Power

_POWERS = {"provisioning": Power.BOOTING, "running": Power.ON}
"""By the lab's status; every other one is of a machine that is off."""


class LabMachines(Machines):
    """The lab's machines that one vendor has made. The vendor's tags stay with the vendor."""

    def __init__(self, url: str, token: str, regions: Mapping[str, str]) -> None:
        """Request nothing yet.

        Args:
            url: of the lab's API.
            token: for it.
            regions: the lab's region for each of the vendor's.
        """
        headers = {"Authorization": f"Bearer {token}"}
        # Without TLS there is nothing to verify; to load certificates takes 20 ms.
        self._lab = httpx.Client(
            base_url=f"{url}/v1", headers=headers, verify=False, trust_env=False
        )
        self._regions = regions
        self._ids: dict[str, str] = {}
        self._addresses: dict[str, str] = {}

    def create(self, id: str, key: str, region: str, user_data: bytes) -> None:
        body = {
            "label": key,
            "region": self._regions[region],
            "user_data": base64.b64encode(user_data).decode(),
        }
        created = self._lab.post("/machines", json=body).raise_for_status().json()
        self._ids[id], self._addresses[id] = created["id"], created["address"]

    def power(self, id: str) -> Power:
        answer = self._lab.get(f"/machines/{self._ids[id]}")
        if answer.status_code == HTTPStatus.NOT_FOUND:
            return Power.OFF
        return _POWERS.get(answer.raise_for_status().json()["status"], Power.OFF)

    def address(self, id: str, otherwise: str) -> str:
        return self._addresses.get(id, otherwise)

    def delete(self, id: str) -> None:
        answer = self._lab.delete(f"/machines/{self._ids[id]}")
        if answer.status_code != HTTPStatus.NOT_FOUND:
            answer.raise_for_status()

    def is_gone(self, id: str) -> bool:
        answer = self._lab.get(f"/machines/{self._ids[id]}")
        return answer.status_code == HTTPStatus.NOT_FOUND

    def close(self) -> None:
        """Close the connections to the lab."""
        self._lab.close()
