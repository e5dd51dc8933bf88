"""One account at Alibaba Cloud, and drivers over it."""

from collections.abc import Iterator

import pytest
from pydantic import SecretBytes

from relight.providers.alibaba.driver import AlibabaDriver
from relight.providers.driver import MachineSpec
from tests.providers.fakes.alibaba import AlibabaFake

KEY = "r-1-g1"
SECRET = "host-private-key " * 100
SPEC = MachineSpec(
    region="cn-hangzhou",
    user_data=SecretBytes(SECRET.encode()),
    owner="us",
    generation=1,
    created_by="run-1",
)
ANOTHER_RUN = SPEC.model_copy(update={"created_by": "run-2"})
ARM = SPEC.model_copy(update={"region": "eu-central-1"})


@pytest.fixture
def fake() -> Iterator[AlibabaFake]:
    fake = AlibabaFake()
    with fake.served():
        yield fake


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def driver(fake, clock, tmp_path):
    driver = AlibabaDriver(fake.settings(tmp_path), clock=clock)
    yield driver
    await driver.close()


@pytest.fixture
async def another_worker(fake, clock, tmp_path):
    """The same account, in a process that knows nothing of what the first one did."""
    driver = AlibabaDriver(fake.settings(tmp_path), clock=clock)
    yield driver
    await driver.close()
