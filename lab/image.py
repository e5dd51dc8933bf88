"""The base image: a minimal Debian with what a VPS image has, and nothing of any release.

It is made with mmdebstrap from this computer's own apt sources, and keeps their full package
index, as hosts in life have it: it is what makes apt slow there. A machine cannot reach those
sources, and fails at once when it tries, as it has neither a route nor a name server.
"""

import platform
import shutil
import sys
from pathlib import Path

from lab import cache
from lab.commands import run, run_long
from lab.errors import LabError

PACKAGES = (
    *("systemd", "systemd-sysv", "dbus", "udev", "openssh-server", "cloud-init", "sudo"),
    *("ca-certificates", "nftables", "iproute2", "curl", "tzdata", "netbase"),
)

# cloud-init starts Python four times; what it is not asked to look at is saved time. The modules
# are those that user-data for a server may use.
_CLOUD_INIT = """\
datasource_list: [NoCloud]
network: {config: disabled}
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

# Nothing acts on a machine by itself, and nothing is started that a machine here has no use for.
_MASKED = (
    *("apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "fstrim.timer"),
    *("e2scrub_all.timer", "e2scrub_reap.service", "systemd-tmpfiles-clean.timer"),
    *("console-getty.service", "cloud-init-hotplugd.socket", "systemd-pstore.service"),
)

_PERSONAL = ("etc/machine-id", "var/lib/dbus/machine-id", "etc/hostname", "etc/resolv.conf")
"""What mmdebstrap leaves of the build's own identity; each machine has its own."""


def image_name() -> str:
    """Return what the base image is called: `debian-12` on Debian 12."""
    release = platform.freedesktop_os_release()
    return f"{release['ID']}-{release.get('VERSION_ID', 'unstable')}"


def architecture() -> str:
    """Return this computer's architecture, as dpkg calls it."""
    return run("dpkg", "--print-architecture").strip()


async def base_image() -> Path:
    """Return the root folder of the base image, built first if it is not in the cache.

    Raises:
        LabError: it cannot be built.
    """
    digest = cache.recipe_digest(sys.modules[__name__], image_name(), architecture())
    return await cache.built_once(f"images/{image_name()}-{digest}", _build)


async def _build(root: Path) -> None:
    sources = _own_sources()
    print(f"lab: building the base image {image_name()}; it takes half a minute", file=sys.stderr)  # noqa: T201
    # In namespaces of its own: when it is interrupted, nothing of it stays mounted or running.
    await run_long(
        *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--", "mmdebstrap"),
        "--variant=minbase",
        "--skip=cleanup/apt/lists",
        f"--include={','.join(PACKAGES)}",
        *(f"--aptopt={option}" for option in _ways_to_sources()),
        _codename(),
        root,
        *sources,
    )
    _make_impersonal(root)
    _prepare_first_boot(root)


def _codename() -> str:
    return platform.freedesktop_os_release()["VERSION_CODENAME"]


def _own_sources() -> list[str]:
    """Return this computer's sources of Debian itself, whatever else it has beside them."""
    form = "deb $(REPO_URI) $(RELEASE) $(COMPONENT)"
    listed = run("apt-get", "indextargets", "--format", form, "Created-By: Packages").splitlines()
    codename = _codename()
    suites = {codename, f"{codename}-updates", f"{codename}-security"}
    found = [line for line in dict.fromkeys(listed) if line.split(" ")[2] in suites]
    if not any(line.split(" ")[2] == codename for line in found):
        raise LabError(f"this computer has no apt source for {codename}: nothing to build from")
    return found


def _ways_to_sources() -> list[str]:
    """Return this computer's apt options on how to reach its sources: proxies, certificates."""
    options = run("apt-config", "dump").splitlines()
    ours = ("acquire::http::", "acquire::https::", "acquire::check-valid-until")
    return [option for option in options if option.lower().startswith(ours)]


def _make_impersonal(root: Path) -> None:
    for name in _PERSONAL:
        (root / name).unlink(missing_ok=True)
    (root / "etc/machine-id").touch()
    (root / "etc/resolv.conf").touch()
    for key in (root / "etc/ssh").glob("ssh_host_*"):
        key.unlink()
    (root / "etc/apt/apt.conf.d/99mmdebstrap").unlink(missing_ok=True)


def _prepare_first_boot(root: Path) -> None:
    (root / "etc/cloud/cloud.cfg.d/99_lab.cfg").write_text(_CLOUD_INIT)
    for unit in _MASKED:
        mask = root / "etc/systemd/system" / unit
        mask.unlink(missing_ok=True)
        mask.symlink_to("/dev/null")
    # As after any `apt-get install`: the cache that apt keeps of its index.
    run("chroot", root, "apt-cache", "gencaches")
    # The image is as up to date as its /usr: no unit that repairs that at boot has to run.
    for name in ("etc/.updated", "var/.updated"):
        (root / name).touch()
        shutil.copystat(root / "usr", root / name)
        (root / name).chmod(0o644)
