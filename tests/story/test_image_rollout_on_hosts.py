"""The rollout of images over twelve real hosts: one whose contract is broken, and a sound one."""

from collections.abc import AsyncIterator

import pytest

from lab import image
from lab.names import LabNames
from relight.domain.rollout.rollout import RolloutPhase
from relight.images.contract_file import parse_contract
from relight.store.images import Place
from starter.local.lab import lab_name
from tests.lab.traces import traces
from tests.store.fleets import MANUAL
from tests.store.images import manifest, ref
from tests.support.lab_fleet import FIRST, REGIONS, LabFleet, lab_fleet

pytestmark = pytest.mark.lab

SOUND, BROKEN = "base-1-amd64", "base-2-amd64"

CONTRACT = b"""\
packages:
  - nftables
absent:
  paths:
    - /etc/apt/apt.conf.d/20auto-upgrades
"""
"""The lab's stock image breaks its last line."""


@pytest.fixture(scope="module")
async def fleet(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LabFleet]:
    folder = tmp_path_factory.mktemp("fleet")
    contract = folder / "contract.yaml"
    contract.write_bytes(CONTRACT)
    further = {"RELIGHT_IMAGES__CONTRACT": str(contract)}
    async with lab_fleet(folder, further=further) as provisioned:
        put_images(provisioned)
        yield provisioned
    assert traces(LabNames(lab_name(provisioned.environment.home)).tag) == []


def put_images(fleet: LabFleet) -> None:
    """Put two images on record, both built to the contract: only one of them holds it."""
    store, sha256 = fleet.environment.store, parse_contract(CONTRACT, "contract.yaml").sha256
    ids = {SOUND: image.image_name(), BROKEN: f"{image.image_name()}-stock"}
    for name, image_id in ids.items():
        changes = {"contract_sha256": sha256, "architecture": image.architecture()}
        places = [Place("lab", region) for region in REGIONS]
        store.images.record(manifest(name, **changes), MANUAL)
        store.images.open(name, places, MANUAL)
        for place in places:
            store.images.publish(ref(name, place, image_id), MANUAL)


def images(fleet: LabFleet) -> dict[str, str | None]:
    """Return the image of the machine of each route."""
    store = fleet.environment.store
    machines = {each.key: each.image_name for each in store.machines.list()}
    return {
        route.route_id: machines[route.machine.key]
        for route in store.routes.list()
        if route.machine is not None
    }


async def test_an_image_that_breaks_its_contract_is_stopped_at_the_canary(
    fleet: LabFleet,
) -> None:
    before = dict(fleet.machine_ids)
    ended = await fleet.relight(
        *("rollout", "image", BROKEN, "--wave", "2", "--max-concurrent", "2", "--wait", "--json")
    )
    assert ended.code == 1, ended
    status = ended.json_lines[-1]
    assert (status["phase"], status["wave"]) == (RolloutPhase.STOPPED, 1), status
    failed = [each for each in status["routes"] if each["fault"] is not None]
    assert {each["fault"]["kind"] for each in failed} == {"image-contract-violated"}
    for each in failed:
        assert "contract.yaml:5" in each["fault"]["summary"]
        assert "/etc/apt/apt.conf.d/20auto-upgrades is there" in each["fault"]["summary"]
    assert status["counts"] == {"failed": len(failed), "untouched": 12 - len(failed)}
    assert len(failed) <= 2
    await fleet.refresh_machines()
    assert fleet.machine_ids == before
    assert set(images(fleet).values()) == {None}
    await fleet.assert_serves(FIRST)


async def test_a_sound_image_reaches_every_route_and_none_is_without_a_machine(
    fleet: LabFleet,
) -> None:
    before = dict(fleet.machine_ids)
    ended = await fleet.relight(
        *("rollout", "image", SOUND, "--wave", "4", "--max-concurrent", "4", "--wait", "--json")
    )
    assert ended.code == 0, ended
    assert ended.json_lines[-1]["counts"] == {"converged": 12}
    await fleet.refresh_machines()
    assert not set(fleet.machine_ids.values()) & set(before.values())
    assert set(images(fleet).values()) == {SOUND}
    await fleet.assert_serves(FIRST)
