"""The base image: a minimal Debian like a cloud's image, without any release of the service.

mmdebstrap builds it from this computer's own apt sources. It keeps their full package index, as
production hosts do, because that makes apt as slow as there. A machine cannot reach those sources:
without a route and a name server, an attempt fails immediately.
"""

import platform
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from lab import cache
from lab.commands import run, run_long
from lab.errors import LabError

PACKAGES = (
    *("systemd", "systemd-sysv", "dbus", "udev", "openssh-server", "cloud-init", "sudo"),
    *("ca-certificates", "nftables", "iproute2", "curl", "tzdata", "netbase"),
)

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
    *("apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "fstrim.timer"),
    *("e2scrub_all.timer", "e2scrub_reap.service", "systemd-tmpfiles-clean.timer"),
    *("console-getty.service", "cloud-init-hotplugd.socket", "systemd-pstore.service"),
)

_IDENTITY_FILES = ("etc/machine-id", "var/lib/dbus/machine-id", "etc/hostname", "etc/resolv.conf")
"""Files with the identity of the build; each machine gets its own."""


def image_name() -> str:
    """Return the name of the base image: `debian-12` on Debian 12."""
    release = platform.freedesktop_os_release()
    return f"{release['ID']}-{release.get('VERSION_ID', 'unstable')}"


def architecture() -> str:
    """Return dpkg's name of this computer's architecture."""
    return run("dpkg", "--print-architecture").strip()


async def base_image() -> Path:
    """Return the root folder of the base image, after building it if it is not in the cache.

    Raises:
        LabError: the build failed.
    """
    digest = cache.recipe_digest(sys.modules[__name__], image_name(), architecture())
    return await cache.built_once(f"images/{image_name()}-{digest}", _build)


async def _build(root: Path) -> None:
    print(f"lab: building the base image {image_name()}; this takes half a minute", file=sys.stderr)  # noqa: T201
    await install_debian(root, PACKAGES, "--skip=cleanup/apt/lists")
    prepare_first_boot(root, _OF_THE_LAB)
    # apt's cache of its index exists on real hosts after any `apt-get install`.
    run("chroot", root, "apt-cache", "gencaches")


async def install_debian(root: Path, packages: Sequence[str], *options: str) -> None:
    """Install this computer's version of Debian with these packages into an empty folder.

    Args:
        root: the folder.
        packages: by name; what they recommend is left out.
        options: more options of mmdebstrap.

    Raises:
        LabError: there is no apt source for it here, or the installation failed.
    """
    sources = _own_sources()
    # In its own namespaces: an interrupted build leaves no mount and no process.
    await run_long(
        *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--", "mmdebstrap"),
        "--variant=minbase",
        *options,
        f"--include={','.join(packages)}",
        *(f"--aptopt={option}" for option in _access_options()),
        _codename(),
        root,
        *sources,
    )


def _codename() -> str:
    return platform.freedesktop_os_release()["VERSION_CODENAME"]


def _own_sources() -> list[str]:
    """Return this computer's apt sources of Debian itself, without any others."""
    form = "deb $(REPO_URI) $(RELEASE) $(COMPONENT)"
    listed = run("apt-get", "indextargets", "--format", form, "Created-By: Packages").splitlines()
    codename = _codename()
    suites = {codename, f"{codename}-updates", f"{codename}-security"}
    sources = [line for line in dict.fromkeys(listed) if line.split(" ")[2] in suites]
    if not any(line.split(" ")[2] == codename for line in sources):
        raise LabError(f"cannot install Debian: no apt source for {codename} here")
    return sources


def _access_options() -> list[str]:
    """Return this computer's apt options for access to its sources: proxies and certificates."""
    options = run("apt-config", "dump").splitlines()
    prefixes = ("acquire::http::", "acquire::https::", "acquire::check-valid-until")
    return [option for option in options if option.lower().startswith(prefixes)]


def _remove_identity(root: Path) -> None:
    for name in _IDENTITY_FILES:
        (root / name).unlink(missing_ok=True)
    (root / "etc/machine-id").touch()
    (root / "etc/resolv.conf").touch()
    for key in (root / "etc/ssh").glob("ssh_host_*"):
        key.unlink()
    (root / "etc/apt/apt.conf.d/99mmdebstrap").unlink(missing_ok=True)


def prepare_first_boot(root: Path, cloud_init: str) -> None:
    """Let a root folder boot fast, and as another computer each time.

    Args:
        root: the folder.
        cloud_init: settings of cloud-init besides `CLOUD_INIT`.
    """
    _remove_identity(root)
    (root / "etc/cloud/cloud.cfg.d/99_lab.cfg").write_text(CLOUD_INIT + cloud_init)
    for unit in _MASKED:
        mask = root / "etc/systemd/system" / unit
        mask.unlink(missing_ok=True)
        mask.symlink_to("/dev/null")
    # With the timestamp of /usr, systemd sees no update and skips its units for it at boot.
    for name in ("etc/.updated", "var/.updated"):
        (root / name).touch()
        shutil.copystat(root / "usr", root / name)
        (root / name).chmod(0o644)
