"""The two images of the cloud: the computer that OpenStack runs on, and the disk of its VMs."""

import sys
from dataclasses import dataclass
from pathlib import Path

from lab import cache, image
from lab.commands import run, run_long

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

_GUEST = (*image.PACKAGES, "linux-image-cloud-amd64", "initramfs-tools", "isc-dhcp-client", "zstd")
_GUEST_CLOUD_INIT = """\
datasource_list: [OpenStack]
system_info: {network: {renderers: [networkd]}}
"""
_GUEST_MIB = 1200


@dataclass(frozen=True)
class Guest:
    """The files that a VM boots from. The whole disk is one file system, without a boot loader.

    Attributes:
        folder: that has the files, by the names of the attributes.
    """

    folder: Path

    @property
    def kernel(self) -> Path:
        """The kernel."""
        return self.folder / "kernel"

    @property
    def ramdisk(self) -> Path:
        """Its initial RAM disk."""
        return self.folder / "ramdisk"

    @property
    def disk(self) -> Path:
        """The raw disk, a sparse file."""
        return self.folder / "disk"


async def services_root() -> Path:
    """Return the root folder with OpenStack's packages, after building it if it is not cached.

    Raises:
        LabError: the build failed.
    """
    digest = cache.recipe_digest(sys.modules[__name__], image.image_name(), image.architecture())
    return await cache.built_once(f"openstack/packages-{digest}", _build_services)


async def guest() -> Guest:
    """Return the image of the VMs, after building it if it is not cached.

    Raises:
        LabError: the build failed.
    """
    digest = cache.recipe_digest(sys.modules[__name__], image.CLOUD_INIT, image.image_name())
    return Guest(await cache.built_once(f"openstack/guest-{digest}", _build_guest))


async def _build_services(root: Path) -> None:
    await image.install_debian(root, _SERVICES, _NO_DOCUMENTS)
    (root / "etc/machine-id").write_text("")
    run("systemctl", f"--root={root}", "disable", *UNITS, "haproxy", "open-iscsi", "libvirt-guests")


async def _build_guest(folder: Path) -> None:
    root, built = folder / "root", Guest(folder)
    await image.install_debian(root, _GUEST, _NO_DOCUMENTS)
    image.prepare_first_boot(root, _GUEST_CLOUD_INIT)
    (root / "etc/fstab").write_text("/dev/vda / ext4 defaults,x-systemd.growfs 0 1\n")
    run("systemctl", f"--root={root}", "enable", "systemd-networkd", "serial-getty@ttyS0")
    for name, target in (("vmlinuz", built.kernel), ("initrd.img", built.ramdisk)):
        (root / name).resolve(strict=True).rename(target)
    await run_long(
        *("mke2fs", "-q", "-t", "ext4", "-E", "lazy_itable_init=0", "-d", root),
        *(built.disk, f"{_GUEST_MIB}M"),
    )
    run("rm", "-r", root)
