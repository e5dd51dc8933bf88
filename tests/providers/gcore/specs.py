"""The machine that the tests of Gcore's driver create."""

from pydantic import SecretBytes

from devkit.simulated.parts import OWNER
from relight.providers.driver import MachineSpec
from tests.providers.fakes.gcore import FakeGcore

KEY_1 = "r-1-g1"
SMALL, BIG = "g2-standard-2-4", "g2-standard-4-8"
USER_DATA = "#cloud-config\n# é\n"


def spec(**values: object) -> MachineSpec:
    given = {
        "region": FakeGcore.region,
        "user_data": SecretBytes(USER_DATA.encode()),
        "owner": OWNER,
        "generation": 1,
        "created_by": "8a1b4c62-0000-4000-8000-000000000000",
    }
    return MachineSpec.model_validate({**given, **values})
