"""The clouds that the contract of drivers is tried on, each with injectable faults."""

import contextlib
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from pydantic import SecretBytes, SecretStr

from devkit.chaos.faulty_proxy import faulty_proxy
from devkit.chaos.provider_faults import ProviderFaults
from devkit.exercised import Against
from devkit.simulated.cloud import FakeCloud
from devkit.simulated.parts import OWNER
from relight.domain.machine import MachineAtProvider, MachineStatus
from relight.providers.driver import MachineSpec, ProviderDriver
from relight.providers.lab import LabDriver
from relight.store.store import Store
from starter.local.children import wait_until
from tests.providers.fakes import FAKES
from tests.providers.fakes.base import VendorFake
from tests.support.exercised import noting

CLOUDS = ["fake", *FAKES, pytest.param("lab", marks=pytest.mark.lab)]

DEADLINE = timedelta(seconds=60)

RUN = "8a1b4c62-0000-4000-8000-000000000000"
"""The run that creates the machines here."""

ANSWER_WITHIN = timedelta(seconds=2)
"""How long the lab's driver waits here: some answers never come."""


class ContractCloud:
    """A driver under the contract, with a region that it has and keys that nobody uses.

    Attributes:
        store: what the activities on it record, where a test runs some.
        fake: of the vendor, behind the driver; None if there is none.
        rounding: how far before a creation its time may be.
        deadline: how long a machine may take to run, or to be gone.
    """

    def __init__(
        self,
        driver: ProviderDriver,
        region: str,
        provider_faults: ProviderFaults,
        fake: VendorFake | None = None,
        deadline: timedelta = DEADLINE,
    ) -> None:
        self.deadline = deadline
        self.fake = fake
        self.rounding = timedelta() if fake is None else fake.rounding
        self.driver = driver
        self.region = region
        self.provider_faults = provider_faults
        self.store: Store
        self.spec = self.spec_of()

    def new_key(self) -> str:
        return f"contract-{uuid.uuid4().hex[:8]}-g1"

    def spec_of(self, owner: str = OWNER, generation: int = 1) -> MachineSpec:
        return MachineSpec(
            region=self.region,
            user_data=SecretBytes(b"#cloud-config\n{}\n"),
            owner=owner,
            generation=generation,
            created_by=RUN,
        )

    async def keys(self) -> list[str]:
        return [machine.key for machine in (await self.driver.list()).machines]

    async def until_running(self, key: str) -> MachineAtProvider:
        async def booted() -> bool:
            machine = await self.driver.find(key)
            assert machine is not None
            return machine.status is not MachineStatus.PROVISIONING

        await wait_until(booted, self.deadline)
        machine = await self.driver.find(key)
        assert machine is not None
        return machine

    async def until_gone(self, key: str) -> None:
        async def gone() -> bool:
            return await self.driver.find(key) is None

        await wait_until(gone, self.deadline)

    async def tidy(self) -> None:
        """Leave nothing behind."""
        self.provider_faults.clear()
        if self.fake is not None:
            self.fake.traps.clear()
        for machine in (await self.driver.list()).machines:
            if machine.key.startswith("contract-"):
                await self.driver.destroy(machine.ref)
                await self.until_gone(machine.key)


@asynccontextmanager
async def contract_cloud(request: pytest.FixtureRequest) -> AsyncIterator[ContractCloud]:
    """The cloud that a fixture's parameter names, one of `CLOUDS`."""
    with contextlib.ExitStack() as stack:
        if request.param == "fake":
            fake = FakeCloud()
            cloud = ContractCloud(fake, FakeCloud.REGIONS[0], fake.provider_faults)
        elif request.param in FAKES:
            vendor = FAKES[request.param]()
            stack.enter_context(vendor.served())
            folder = request.getfixturevalue("tmp_path")
            driver: ProviderDriver = noting(vendor.driver(folder), Against.FAKE)
            cloud = ContractCloud(driver, vendor.region, vendor.provider_faults, vendor)
        else:
            lab = request.getfixturevalue("lab")
            proxy = stack.enter_context(faulty_proxy(lab.api_url))
            driver = LabDriver(proxy.url, SecretStr(lab.token), timeout=ANSWER_WITHIN)
            driver = noting(driver, Against.LAB)
            cloud = ContractCloud(driver, "lab-east", proxy.provider_faults)
        try:
            yield cloud
        finally:
            await cloud.tidy()
            await cloud.driver.close()
