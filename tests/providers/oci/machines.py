"""Machines at the fake of Oracle Cloud Infrastructure, and what was requested for them."""

import json
from datetime import timedelta
from typing import Any

from pydantic import SecretBytes

from devkit.simulated.parts import OWNER
from relight.domain.machine import MachineAtProvider, MachineRef
from relight.providers.driver import (
    MachineSpec,
)
from relight.providers.oci.driver import OciDriver
from starter.local.children import wait_until
from tests.providers.fakes.oci import OciFake
from tests.providers.fakes.oci_account import FRANKFURT
from tests.support.contract_clouds import RUN

KEY = "r-1-g1"
SOON = timedelta(seconds=60)


def spec(region: str = FRANKFURT, **of: Any) -> MachineSpec:
    user_data = SecretBytes(b"#cloud-config\n{}\n")
    known = {"owner": OWNER, "generation": 1, "created_by": RUN, "user_data": user_data}
    return MachineSpec(region=region, **{**known, **of})


def launches(fake: OciFake) -> list[dict[str, Any]]:
    """The bodies of all launches that were asked for."""
    return [
        json.loads(each.body)
        for each in fake.received
        if each.method == "POST" and each.path.endswith("/instances")
    ]


def tokens(fake: OciFake) -> list[str]:
    return [
        each.headers["opc-retry-token"]
        for each in fake.received
        if "opc-retry-token" in each.headers
    ]


async def running(driver: OciDriver, key: str = KEY, **of: Any) -> MachineAtProvider:
    machine = await driver.ensure(key, spec(**of))
    found: list[MachineAtProvider] = []

    async def runs() -> bool:
        seen = await driver.get(machine.provider_id)
        assert seen is not None
        found.append(seen)
        return seen.address is not None

    await wait_until(runs, SOON)
    return found[-1]


async def gone(driver: OciDriver, machine: MachineRef) -> None:
    async def is_gone() -> bool:
        return await driver.get(machine.provider_id) is None

    await wait_until(is_gone, SOON)
