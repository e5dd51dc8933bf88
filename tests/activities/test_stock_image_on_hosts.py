"""The first boot of a stock cloud's image: no lists, apt-daily and unattended-upgrades at work."""

import base64
import dataclasses
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from devkit.simulated.parts import first_boot_parts
from lab.image import image_name
from relight.domain.machine import Machine, MachineStatus
from relight.hosts.cloud_init.user_data import SERVICE_FILES
from tests.support.apt_repository import KeyRing, Repository, Served, key_ring, serve
from tests.support.contract_hosts import (
    CLIENT_KEY,
    LAB_PROBE,
    LAB_SERVICE,
    Subject,
    lab_hosts,
    new_store,
    plan,
)
from tests.support.faulty_host import repack
from tests.support.lab import Lab

pytestmark = pytest.mark.lab

NEEDS = "0.0.90"
KEY = "stock-0-g1"
SOURCE = """\
Types: deb
URIs: {url}
Suites: stable
Components: main
Signed-By:
{key}
"""


@pytest.fixture
def keys() -> Iterator[KeyRing]:
    with key_ring() as keys:
        yield keys


def published(lab: Lab, keys: KeyRing, folder: Path) -> tuple[Repository, Repository, str]:
    """Return our repository with a release that needs a package of the host's own, and that one."""
    pool = lab.state / "repository/pool"
    (good,) = pool.rglob("lantern-box_0.0.74_*.deb")
    architecture = good.stem.rpartition("_")[2]
    ours, own = (Repository(folder / name, (architecture,)) for name in ("ours", "own"))
    target = ours.root / "pool/main" / good.name
    target.parent.mkdir(parents=True)
    target.write_bytes(good.read_bytes())
    repack(target, NEEDS, fields={"Depends": "libdaemon (>= 2)"})
    documented = {"/usr/share/doc/libdaemon/README": "left out by dpkg"}
    own.add("2.0", architecture, "libdaemon", files=documented)
    key = keys.make("fleet")
    for repository in (ours, own):
        repository.publish(partial(keys.sign, users=[key]))
    return ours, own, key


@asynccontextmanager
async def stock_machine(
    lab: Lab, keys: KeyRing, key: str, ours: Served, own: Served, folder: Path
) -> AsyncIterator[Subject]:
    """Create a machine of the stock image, which has a source of its own besides Debian's."""
    armoured = keys.public(key, armoured=True).decode().splitlines()
    indented = "\n".join(f" {line}" if line else " ." for line in armoured)
    template = folder / "files/etc/apt/sources.list.d/own.sources.j2"
    shutil.copytree(SERVICE_FILES, folder / "files")
    template.parent.mkdir(parents=True)
    template.write_text(SOURCE.format(url=own.url, key=indented))
    user_data, settings = first_boot_parts(
        CLIENT_KEY,
        repository_url=ours.url,
        signing_key=keys.public(key),
        service_files=folder / "files",
    )
    planned = plan(KEY, NEEDS)
    created = lab.request_machine(
        label=KEY,
        image=f"{image_name()}-stock",
        user_data=base64.b64encode(user_data.render(planned).packed.get_secret_value()).decode(),
    )
    machine = Machine(
        key=KEY,
        provider="lab",
        provider_id=created["id"],
        region="lab-east",
        address=created["address"],
        architecture=created["architecture"],
        status=MachineStatus.RUNNING,
    )
    service = dataclasses.replace(LAB_SERVICE, stability_window=timedelta(milliseconds=300))
    try:
        with new_store() as store:
            yield Subject(
                machine, lab_hosts(), user_data, service, LAB_PROBE, store, planned, settings
            )
    finally:
        lab.request_deletion(created["id"])


async def test_a_first_boot_waits_for_apt_daily_and_finds_what_the_release_needs(
    lab: Lab, keys: KeyRing, tmp_path: Path
) -> None:
    ours, own, key = published(lab, keys, tmp_path)
    gateway = str(IPv4Network(lab.network)[1])
    with serve(ours.root, gateway) as first, serve(own.root, gateway) as second:
        async with stock_machine(lab, keys, key, first, second, tmp_path) as subject:
            await subject.first_boot()
            await subject.prove(NEEDS)
            machine = subject.machine.provider_id

            def shown(script: str) -> str:
                return lab.run(machine, "sh", "-ec", script).stdout.strip()

            log = shown("cat /var/lib/relight/first-boot/install.log")
            assert "relight: waiting for another apt" in log
            assert "relight: retrying with all apt sources of this host" in log
            assert shown("dpkg-query -Wf '${Version}' libdaemon") == "2.0"
            assert shown("ls /usr/share/doc/libdaemon") == ""  # dpkg left its files out
