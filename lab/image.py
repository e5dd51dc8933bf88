"""The base image: that of real clouds, with a layer for machines of the lab. It has no release.

The recipe in `images/` makes both: a root folder from this computer's own apt sources, in which the
provision script runs. This one has no kernel and no boot loader, and keeps the full package index,
as production hosts do, because that makes apt as slow as there. A machine cannot reach those
sources: without a route and a name server, an attempt fails immediately.
"""

import hashlib
import os
import platform
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from lab import cache
from lab.commands import run, run_long
from lab.errors import LabError

RECIPE = Path(__file__).parents[1] / "images"
"""The folder that says what a base image is: data, which a build of disks reads as well."""

PROVISION = RECIPE / "provision.sh"
"""The script that makes a minimal Debian a base image."""

# cloud-init starts Python four times, and each omitted module saves time.
CLOUD_INIT = """\
locale: false
apt: {preserve_sources_list: true}
cloud_init_modules:
  [bootcmd, write-files, set_hostname, update_hostname, update_etc_hosts, ca-certs, users-groups,
   ssh]
cloud_config_modules:
  [set-passwords, ntp, timezone, apt-configure, disable-ec2-metadata, runcmd]
cloud_final_modules:
  [package-update-upgrade-install, write-files-deferred, scripts-vendor, scripts-per-once,
   scripts-per-boot, scripts-per-instance, scripts-user, phone-home, final-message,
   power-state-change]
"""
"""Settings of cloud-init: the modules that user-data for a server may use."""

_OF_THE_LAB = "datasource_list: [NoCloud]\nnetwork: {config: disabled}\n"

# No periodic work runs on a machine, and no unit that a machine of the lab does not need.
_MASKED = (
    *("dpkg-db-backup.timer", "fstrim.timer", "e2scrub_all.timer"),
    *("e2scrub_reap.service", "systemd-tmpfiles-clean.timer"),
    *("console-getty.service", "cloud-init-hotplugd.socket", "systemd-pstore.service"),
)


_OF_VIRTUAL_MACHINES = (
    *("systemd-networkd.service", "systemd-networkd.socket", "systemd-resolved.service"),
    "systemd-networkd-wait-online.service",
)


def image_name() -> str:
    """Return the name of the base image: `debian-12` on Debian 12."""
    release = platform.freedesktop_os_release()
    return f"{release['ID']}-{release.get('VERSION_ID', 'unstable')}"


def architecture() -> str:
    """Return dpkg's name of this computer's architecture."""
    return run("dpkg", "--print-architecture").strip()


async def base_image() -> Path:
    """Return the root folder of the base image, after building it if it is not in the cache.

    With `RELIGHT_LAB_IMAGE`, the image is made of that root folder: it is the one of a built disk.

    Raises:
        LabError: the build failed.
    """
    source = _given_root()
    inputs = _recipe() if source is None else [str(source), _installed_digest(source)]
    digest = cache.recipe_digest(sys.modules[__name__], image_name(), architecture(), *inputs)

    async def build(root: Path) -> None:
        await _build(root, source)

    return await cache.built_once(f"images/{image_name()}-{digest}", build)


def _given_root() -> Path | None:
    given = os.environ.get("RELIGHT_LAB_IMAGE")
    return Path(given).absolute() if given else None


def _recipe() -> list[str]:
    """Return the texts that determine the root folder of an image."""
    return [(RECIPE / name).read_text() for name in ("apt-sources", "make-root", "provision.sh")]


def _installed_digest(root: Path) -> str:
    status = root / "var/lib/dpkg/status"
    if not status.is_file():
        raise LabError(f"RELIGHT_LAB_IMAGE is not the root folder of an image: no {status}")
    return hashlib.sha256(status.read_bytes()).hexdigest()


async def _build(root: Path, source: Path | None) -> None:
    if source is None:
        text = f"lab: building the base image {image_name()}; this takes half a minute"
        print(text, file=sys.stderr)  # noqa: T201
        await make_root(root, PROVISION, "--skip=cleanup/apt/lists")
    else:
        await run_long("cp", "--archive", "--reflink=auto", f"{source}/.", root)
        _leave_out_devices(root)
    prepare_first_boot(root, _OF_THE_LAB)
    # apt's cache of its index exists on real hosts after any `apt-get install`.
    run("chroot", root, "apt-cache", "gencaches")


async def make_root(root: Path, provision: Path | None, *options: str) -> None:
    """Make the root folder of an image of this computer's version of Debian.

    Args:
        root: an empty folder.
        provision: the script that runs in it; None for a minimal system.
        options: more options of mmdebstrap.

    Raises:
        LabError: there is no apt source for it here, or a program failed.
    """
    await run_long(
        *(RECIPE / "make-root", image_name(), architecture(), provision or "-", root),
        *options,
    )


async def install_debian(root: Path, packages: Sequence[str], *options: str) -> None:
    """Install this computer's version of Debian with these packages into an empty folder.

    Args:
        root: the folder.
        packages: by name; what they recommend is left out.
        options: more options of mmdebstrap.

    Raises:
        LabError: there is no apt source for it here, or the installation failed.
    """
    await make_root(root, None, f"--include={','.join(packages)}", *options)


def _leave_out_devices(root: Path) -> None:
    """Take out what a virtual machine needs: the lab gives its machines their disk and network."""
    (root / "etc/fstab").write_text("")
    resolv_conf = root / "etc/resolv.conf"
    resolv_conf.unlink(missing_ok=True)
    resolv_conf.touch()
    _mask(root, _OF_VIRTUAL_MACHINES)


def _mask(root: Path, units: Sequence[str]) -> None:
    for unit in units:
        mask = root / "etc/systemd/system" / unit
        mask.unlink(missing_ok=True)
        mask.symlink_to("/dev/null")


def prepare_first_boot(root: Path, cloud_init: str) -> None:
    """Let a root folder boot fast.

    Args:
        root: the folder.
        cloud_init: settings of cloud-init besides `CLOUD_INIT`.
    """
    (root / "etc/cloud/cloud.cfg.d/99_lab.cfg").write_text(CLOUD_INIT + cloud_init)
    _mask(root, _MASKED)
    # With the timestamp of /usr, systemd sees no update and skips its units for it at boot.
    for name in ("etc/.updated", "var/.updated"):
        (root / name).touch()
        shutil.copystat(root / "usr", root / name)
        (root / name).chmod(0o644)
