"""The two images of the cloud: the computer that OpenStack runs on, and the disk of its VMs."""

import asyncio
import sys
from pathlib import Path

from lab import cache, image
from lab.commands import run
from lab.errors import LabError
from lab.locks import locked
from relight.images.build import ImageOrder, build_image
from relight.images.contract_file import read_contract
from relight.images.programs import ImageBuildError, NoProgramError, NoRootError

_SERVICES = (
    *("mariadb-server", "rabbitmq-server", "keystone", "glance-api", "placement-api"),
    *("nova-api", "nova-scheduler", "nova-conductor", "nova-compute", "nova-compute-kvm"),
    *("neutron-api", "neutron-rpc-server", "neutron-linuxbridge-agent", "neutron-dhcp-agent"),
    *("neutron-metadata-agent", "python3-pymysql", "python3-openstacksdk"),
    *("systemd", "systemd-sysv", "dbus", "udev", "iproute2", "iptables", "ca-certificates"),
)
UNITS = (
    *("keystone", "glance-api", "placement-api", "nova-api", "nova-api-metadata"),
    *("nova-scheduler", "nova-conductor", "nova-compute", "neutron-api", "neutron-rpc-server"),
    *("neutron-linuxbridge-agent", "neutron-dhcp-agent", "neutron-metadata-agent"),
)
"""OpenStack's own units. They are off until OpenStack is set up."""

_NO_DOCUMENTS = "--dpkgopt=path-exclude=/usr/share/doc/*"


async def services_root() -> Path:
    """Return the root folder with OpenStack's packages, after building it if it is not cached.

    Raises:
        LabError: the build failed.
    """
    digest = cache.recipe_digest(sys.modules[__name__], image.image_name(), image.architecture())
    return await cache.built_once(f"openstack/packages-{digest}", _build_services)


async def guest() -> Path:
    """Return the disk of the VMs: the base image, built if none of the present inputs is cached.

    Raises:
        LabError: the build failed.
    """
    folder = cache.cache_folder() / "openstack/images"
    order = ImageOrder(
        contract=read_contract(),
        distribution=image.image_name(),
        architecture=image.architecture(),
        out=folder,
    )
    async with locked(folder / ".lock"):
        try:
            built = await asyncio.to_thread(build_image, order)
        except (ImageBuildError, NoProgramError, NoRootError) as error:
            raise LabError(str(error)) from error
    return folder / f"{built.manifest.name}.qcow2"


async def _build_services(root: Path) -> None:
    await image.install_debian(root, _SERVICES, _NO_DOCUMENTS)
    (root / "etc/machine-id").write_text("")
    run("systemctl", f"--root={root}", "disable", *UNITS, "haproxy", "open-iscsi", "libvirt-guests")
