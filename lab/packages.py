"""The Debian packages of the small service: good and bad releases."""

import asyncio
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

from lab import cache
from lab.commands import run
from lab.image import architecture

PACKAGE = "lantern-box"
_SOURCE = Path(__file__).parent / "service" / "lantern-box.c"


@dataclass(frozen=True)
class Build:
    """One version of the package.

    Attributes:
        version: the Debian version.
        define: a macro of the service's source that makes it fail, None for a good version.
        postinst: a maintainer script. Good versions have none, as Lantern's packages.
    """

    version: str
    define: str | None = None
    postinst: str | None = None


BUILDS = (
    Build("0.0.70"),
    Build("0.0.73"),
    Build("0.0.74"),
    Build(
        "0.0.75",
        postinst="#!/bin/sh\necho 'lantern-box: cannot migrate the state' >&2\nexit 3\n",
    ),
    Build("0.0.76", define="CRASHES"),
    Build("0.0.77", define="UNHEALTHY"),
)

# With DynamicUser the package needs no script that creates a user. The capability lets the service
# read its configuration, which only root may read because it contains secrets.
_UNIT = """\
[Unit]
Description=Lantern box
After=network.target

[Service]
Type=simple
EnvironmentFile=-/etc/default/lantern-box
ExecStart=/usr/bin/lantern-box --config /etc/lantern-box/config.json
Restart=on-failure
RestartSec=1
DynamicUser=yes
AmbientCapabilities=CAP_DAC_READ_SEARCH
CapabilityBoundingSet=CAP_DAC_READ_SEARCH
LimitCORE=0

[Install]
WantedBy=multi-user.target
"""


async def built_packages() -> Path:
    """Return the folder with the .deb files, after building them if they are not in the cache.

    Raises:
        CommandError: the compiler or dpkg-deb failed.
    """
    digest = cache.recipe_digest(sys.modules[__name__], _SOURCE.read_text(), architecture())
    return await cache.built_once(f"packages/{PACKAGE}-{digest}", _build_all)


async def _build_all(folder: Path) -> None:
    print(f"lab: building {len(BUILDS)} versions of {PACKAGE}", file=sys.stderr)  # noqa: T201
    await asyncio.gather(*(asyncio.to_thread(build_package, folder, build) for build in BUILDS))


def build_package(folder: Path, build: Build) -> None:
    """Build one version into a folder.

    Raises:
        CommandError: the compiler or dpkg-deb failed.
    """
    arch = architecture()
    tree = folder / f".{build.version}"
    binary, unit = tree / "usr/bin" / PACKAGE, tree / "lib/systemd/system" / f"{PACKAGE}.service"
    for path in (binary, unit, tree / "DEBIAN/control"):
        path.parent.mkdir(parents=True)
    # Static, so that it runs on every Debian version.
    run(
        *("gcc", "-std=gnu11", "-Os", "-Wall", "-Wextra", "-Werror", "-static", "-s"),
        f'-DVERSION="{build.version}"',
        *([f"-D{build.define}"] if build.define else []),
        *("-o", binary, _SOURCE),
    )
    unit.write_text(_UNIT)
    control = f"""\
        Package: {PACKAGE}
        Version: {build.version}
        Architecture: {arch}
        Maintainer: The lab <lab@localhost>
        Section: net
        Priority: optional
        Description: a small service with a health probe
         It replaces the service of a real fleet in tests.
        """
    (tree / "DEBIAN/control").write_text(textwrap.dedent(control))
    if build.postinst is not None:
        script = tree / "DEBIAN/postinst"
        script.write_text(build.postinst)
        script.chmod(0o755)
    for path in (tree, *(path for path in tree.rglob("*") if path.is_dir())):
        path.chmod(0o755)
    for path, mode in ((binary, 0o755), (unit, 0o644)):
        path.chmod(mode)
    deb = folder / f"{PACKAGE}_{build.version}_{arch}.deb"
    run("dpkg-deb", "--build", "--root-owner-group", "-Zgzip", tree, deb)
    run("rm", "-r", tree)
