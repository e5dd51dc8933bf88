"""Packages that the control plane brings to real machines, which have no source of their own."""

import shutil
import uuid
from pathlib import Path

import pytest
from pydantic import SecretStr

from activities.delivery import PackageDelivery
from devkit.simulated.parts import first_boot_parts
from relight.hosts.errors import PackageError
from relight.providers.lab import LabDriver
from relight.releases.local_directory import LocalDirectory
from relight.releases.package_files import PackageFiles
from tests.support.contract_hosts import (
    CLIENT_KEY,
    LAB_PROBE,
    LAB_SERVICE,
    Subject,
    lab_hosts,
    new_store,
    plan,
    running,
    spec_of,
)
from tests.support.lab import Lab

pytestmark = pytest.mark.lab

OLD, NEW = "0.0.73", "0.0.74"


async def test_a_machine_boots_with_a_pushed_package_and_is_swapped_forth_and_back(
    lab: Lab, tmp_path: Path
) -> None:
    folder = tmp_path / "debs"
    folder.mkdir()
    for version in (OLD, NEW):
        (deb,) = lab.state.glob(f"repository/pool/**/lantern-box_{version}_*.deb")
        shutil.copy(deb, folder / f"lantern-box-{version}.deb")
    source = LocalDirectory(folder, "lantern-box")
    old, new = [await source.resolve(f"v{version}", ["amd64"]) for version in (OLD, NEW)]
    user_data, settings = first_boot_parts(CLIENT_KEY, by_apt=False, pushed=True)
    driver = LabDriver(lab.api_url, SecretStr(lab.token))
    key = f"pushed-{uuid.uuid4().hex[:6]}-g1"
    planned = plan(key, OLD).model_copy(update={"deb_file": old.deb_files[0]})
    machine = await running(driver, key, spec_of(planned, user_data))
    files = PackageFiles(tmp_path / "packages", max_files=9, max_bytes=10**9)
    try:
        with new_store() as store:
            for release in (old, new):
                store.releases.save(release)
            delivery = PackageDelivery(files, source, store)
            subject = Subject(
                machine,
                lab_hosts(),
                user_data,
                LAB_SERVICE,
                LAB_PROBE,
                store,
                planned,
                settings,
                delivery,
            )
            await subject.first_boot()
            assert (await subject.prove(OLD)).version == OLD
            assert (await subject.swap(new)).proof.version == NEW
            # The source deletes what the fleet goes back to: it was kept, here and on the host.
            shutil.rmtree(folder)
            with pytest.raises(PackageError) as refused:
                await subject.swap(old)
            assert refused.value.kind == "downgrade-refused"
            assert (await subject.swap(old, allow_downgrade=True)).proof.version == OLD
            listed = lab.run(
                lab.machine_id(machine.key), "ls", "/var/lib/relight/packages"
            ).stdout.split()
            assert sorted(listed) == sorted(
                f"{each.deb_files[0].sha256}.deb" for each in (old, new)
            )
    finally:
        await driver.destroy(machine.ref)
        await driver.close()
