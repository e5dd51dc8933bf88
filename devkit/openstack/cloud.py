"""A running OpenStack: a lab whose only machine has all of OpenStack, and real VMs in it.

The first start sets OpenStack up, once, on a machine that is then kept as a layer over the
packages. Each further start has that layer below its own, so it begins with an empty cloud.
"""

import contextlib
import json
import os
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from devkit.openstack import images, resources, services
from devkit.openstack.computer import running
from devkit.openstack.rest import PORTS, Login, Rest
from lab import cache, cgroups, image, network, serve
from lab.errors import LabError
from lab.names import LabNames
from lab.preflight import raise_limits

MEMORY_GIB = 6
"""What the services and two VMs take."""

_UMASK = 0o022
_CLOUDS_FILE, _PROVIDERS_FILE = "clouds.yaml", "providers.toml"
_PROVIDERS = f"""\
[openstack]
clouds_file = "{_CLOUDS_FILE}"
cloud = "{resources.FLEET}"

[openstack.locations.{resources.REGION}]
architecture = "amd64"
shapes = ["{resources.FLAVOR}"]
subnet = "{resources.FLEET}"
image = "{resources.IMAGE}"
extra = {{ security_groups = ["{resources.FLEET}"] }}
"""
"""What the settings of providers say of this cloud."""


@contextlib.asynccontextmanager
async def parts(names: LabNames, state: Path) -> AsyncIterator[Mapping[str, Any]]:
    """Run a cloud until the block ends; yield what a client needs to use it.

    Raises:
        LabError: it could not be installed, or did not start.
    """
    if lacking := requirements():
        raise LabError(f"this computer cannot run OpenStack; it lacks {'; '.join(lacking)}")
    os.umask(_UMASK)
    raise_limits()
    packages, guest = await images.services_root(), await images.guest()
    net = await network.open_network(names, cache.cache_folder() / ".network.lock")
    cgroups.folder(names.tag).mkdir(exist_ok=True)
    layer = await services.layer(net, state, packages, guest)
    secret = (layer / "secret").read_text()
    since = datetime.now(UTC)
    layers = [layer / "root", layer / "configuration", packages]
    async with running(net, state, layers) as computer:
        admin_login = Login("admin", "admin", secret)
        await computer.until_serving(admin_login, since)
        fleet_login = Login(resources.FLEET, resources.FLEET, secret)
        async with Rest(computer.address, admin_login) as admin:
            await resources.publish_endpoints(admin, computer.address)
            async with Rest(computer.address, fleet_login) as fleet:
                await resources.add_network(admin, fleet, net)
        url = f"http://{computer.address}:{PORTS['identity']}/v3"
        serve.write(state / _CLOUDS_FILE, _clouds(url, fleet_login, admin_login), 0o600)
        serve.write(state / _PROVIDERS_FILE, _PROVIDERS, 0o644)
        try:
            yield {
                "name": names.name,
                "pid": os.getpid(),
                "url": url,
                "host": computer.address,
                "machine": computer.machine.spec.id,
                "providers_file": str(state / _PROVIDERS_FILE),
                "clouds_file": str(state / _CLOUDS_FILE),
                "network": str(net.range),
                "gateway": str(net.gateway),
            }
        finally:
            forget(state)


def forget(state: Path) -> None:
    """Delete what tells clients of a cloud that runs no more."""
    for name in (_CLOUDS_FILE, _PROVIDERS_FILE):
        (state / name).unlink(missing_ok=True)


def requirements() -> list[str]:
    """Return what this computer lacks besides what a lab needs, one line each."""
    lacking = []
    if (image.image_name(), image.architecture()) != ("debian-12", "amd64"):
        lacking.append("Debian 12 on amd64, whose packages are OpenStack Zed")
    meminfo = Path("/proc/meminfo").read_text()
    available_kib = int(meminfo.partition("MemAvailable:")[2].split()[0])
    if available_kib < MEMORY_GIB << 20:
        lacking.append(f"{MEMORY_GIB} GiB of free memory: {available_kib >> 20} GiB are free")
    if not Path("/dev/net/tun").exists():
        lacking.append("/dev/net/tun")
    return lacking


def _clouds(url: str, *logins: Login) -> str:
    """Return logins in the form of `clouds.yaml`, each by its user's name. JSON is YAML."""
    clouds = {
        login.user: {
            "auth": {
                "auth_url": url,
                "username": login.user,
                "password": login.password,
                "project_name": login.project,
                "user_domain_name": "Default",
                "project_domain_name": "Default",
            },
            "region_name": resources.REGION,
            "identity_api_version": 3,
        }
        for login in logins
    }
    return json.dumps({"clouds": clouds}, indent=2) + "\n"
