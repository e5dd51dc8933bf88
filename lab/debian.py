"""Packages of Debian as a machine of the lab would fetch them, and repacked next versions of them.

A machine cannot reach Debian's mirrors. So apt computes on this computer what a machine of the base
image would download for a package, and fetches that from the sources of the base image.
"""

import asyncio
import contextlib
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab import cache, image
from lab.commands import run
from lab.errors import CommandError
from lab.locks import locked

NEXT = "+next1"
"""Appended to a version for the next one. No bound of a package's own dependencies lies between."""

CONTENT = "usr/share/relight-lab"
"""The folder of a file that the next version of each package has in addition."""

_URI = re.compile(r"^'\S+' (\S+) ", re.MULTILINE)


@dataclass(frozen=True)
class Deb:
    """One .deb file.

    Attributes:
        file: its path.
        name: of its package.
        version: of its package.
        architecture: of its package; `all` for any.
    """

    file: Path
    name: str
    version: str
    architecture: str


@dataclass(frozen=True)
class DebianPackage:
    """A package of Debian and all that a machine of the base image needs to install it.

    Attributes:
        name: of the package.
        version: of the package.
        folder: with the .deb files.
        moving: those that move to the next version together: all that have the same source.
    """

    name: str
    version: str
    folder: Path
    moving: Sequence[Deb]

    @property
    def next_version(self) -> str:
        """The version that `repack` makes."""
        return self.version + NEXT


async def refresh() -> None:
    """Fetch the present package lists.

    Raises:
        CommandError: a source of Debian does not answer, or cannot be trusted.
    """
    root, apt = await image.base_image(), _folder()
    async with locked(apt / "lock"):
        await asyncio.to_thread(_update, root, apt)


async def fetch(package: str | Path, folder: Path, more: Sequence[str] = ()) -> DebianPackage:
    """Fetch a package and what it needs into a new folder. What was fetched before is kept.

    The lists are refreshed if there are none, or if they name a file that is gone.

    Args:
        package: its name; or a .deb. The .debs beside that one which have the same source, or
            which it depends on, are taken instead of Debian's.
        folder: for the .deb files, which are links to the kept ones.
        more: the names of further packages, which are fetched as well.

    Raises:
        CommandError: apt found no such package, or could not fetch it.
    """
    root, apt = await image.base_image(), _folder()
    async with locked(apt / "lock"):
        try:
            files = await asyncio.to_thread(_download, root, apt, package, more)
        except CommandError:
            await asyncio.to_thread(_update, root, apt)
            files = await asyncio.to_thread(_download, root, apt, package, more)
        name = package if isinstance(package, str) else _field(package, "Package")
        return await asyncio.to_thread(_described, name, folder, files)


def repack(package: DebianPackage, folder: Path) -> None:
    """Build the next version of a package, and of those that move with it, into a new folder.

    Each has one file more, and dpkg replaces all others too.

    Raises:
        CommandError: dpkg-deb failed.
    """
    folder.mkdir(parents=True)
    versions = {each.name: each.version for each in package.moving}
    for deb in package.moving:
        with tempfile.TemporaryDirectory() as tree:
            target = folder / _file_name(deb.name, deb.version + NEXT, deb.architecture)
            _rebuild(deb, Path(tree, "tree"), target, versions)


def _rebuild(deb: Deb, tree: Path, target: Path, versions: Mapping[str, str]) -> None:
    run("dpkg-deb", "--raw-extract", deb.file, tree)
    control = tree / "DEBIAN/control"
    text = re.sub(r"^(Version: \S+)$", rf"\g<1>{NEXT}", control.read_text(), flags=re.MULTILINE)
    for name, version in versions.items():
        bound = rf"((?:^|[ ,|]){re.escape(name)}(?::\w+)? \(= {re.escape(version)})\)"
        text = re.sub(bound, rf"\g<1>{NEXT})", text, flags=re.MULTILINE)
    control.write_text(text)
    added = tree / CONTENT / deb.name
    added.parent.mkdir(parents=True, exist_ok=True)
    added.write_text(f"{target.name}\n")
    # Owners stay as they are: this runs as root, like the lab.
    run("dpkg-deb", "--uniform-compression", "-Znone", "--build", tree, target)


def _file_name(name: str, version: str, architecture: str) -> str:
    """Return the name of a file as in Debian's own pool: without the epoch."""
    return f"{name}_{version.partition(':')[2] or version}_{architecture}.deb"


def _folder() -> Path:
    return cache.cache_folder() / "debian"


def _described(name: str, folder: Path, files: Sequence[Path]) -> DebianPackage:
    """Link the files into a new folder, by the names of their packages."""
    folder.mkdir(parents=True)
    sources: dict[Deb, str] = {}
    for file in files:
        lines = run("dpkg-deb", "--field", file, "Package", "Version", "Architecture", "Source")
        field = dict(line.split(": ", 1) for line in lines.splitlines())
        package, version, architecture = (
            field[each] for each in ("Package", "Version", "Architecture")
        )
        link = folder / _file_name(package, version, architecture)
        link.symlink_to(file)
        source = field.get("Source", package).partition(" ")[0]
        sources[Deb(link, package, version, architecture)] = source
    own = next(deb for deb in sources if deb.name == name)
    moving = [deb for deb, source in sources.items() if source == sources[own]]
    return DebianPackage(name, own.version, folder, moving)


def _download(root: Path, apt: Path, package: str | Path, more: Sequence[str]) -> list[Path]:
    """Download what a machine needs to install a package, and return the files."""
    archives, reinstall = apt / "archives", ("install", "--reinstall", "-y")
    own = [] if isinstance(package, str) else _with_those_beside(package)
    names: list[str | Path] = (
        [package, *_installed_with(root, apt, package)] if isinstance(package, str) else [*own]
    )
    names += [name for name in more if name not in {_field(deb, "Package") for deb in own}]
    with tempfile.TemporaryDirectory() as empty:
        (Path(empty) / "partial").mkdir()
        listed = _apt(root, apt, Path(empty), "apt-get", *reinstall, "--print-uris", *names)
    (archives / "partial").mkdir(parents=True, exist_ok=True)
    _apt(root, apt, archives, "apt-get", *reinstall, "--download-only", *names)
    fetched = (archives / file for file in _URI.findall(listed))
    return [*own, *(file for file in fetched if file.exists())]


def _with_those_beside(deb: Path) -> list[Path]:
    """Return a .deb, and those in its folder which it depends on, directly or not."""
    beside = {}
    for each in sorted(deb.parent.glob("*.deb")):
        with contextlib.suppress(CommandError):  # It is no package.
            beside[_field(each, "Package")] = each
    beside[_field(deb, "Package")] = deb
    found, wanted = [], [deb]
    while wanted:
        found.append(wanted.pop())
        depends = _field(found[-1], "Depends", "Pre-Depends")
        names = {each for each in re.findall(r"[a-z0-9][a-z0-9.+-]+", depends) if each in beside}
        wanted += [beside[each] for each in sorted(names) if beside[each] not in found + wanted]
    return found


def _field(deb: Path, *names: str) -> str:
    """Return the value of a field of a .deb; of several, all with their names."""
    return run("dpkg-deb", "--field", deb, *names).strip()


def _installed_with(root: Path, apt: Path, name: str) -> list[str]:
    """Return the packages of the same source that the base image has."""
    record = _apt(root, apt, apt, "apt-cache", "show", "--no-all-versions", name)
    source = re.search(r"^Source: (\S+)", record, re.MULTILINE)
    shown = ("--show", "--showformat", "${Package} ${source:Package}\n")
    lines = run("dpkg-query", "--admindir", root / "var/lib/dpkg", *shown).splitlines()
    wanted = source[1] if source else name
    return [line.split(" ")[0] for line in lines if line.split(" ")[1] == wanted]


def _update(root: Path, apt: Path) -> None:
    (apt / "lists/partial").mkdir(parents=True, exist_ok=True)
    _apt(root, apt, apt / "archives", "apt-get", "update", "--error-on=any")


def _apt(root: Path, apt: Path, archives: Path, program: str, *words: str | Path) -> str:
    """Run a program of apt as on a machine of the base image, with its own lists and files."""
    (apt / "caches").mkdir(parents=True, exist_ok=True)
    options = {
        "Dir::State::status": root / "var/lib/dpkg/status",
        "Dir::State::lists": apt / "lists",
        "Dir::Etc::sourcelist": root / "etc/apt/sources.list",
        "Dir::Etc::sourceparts": "-",
        "Dir::Etc::trustedparts": root / "etc/apt/trusted.gpg.d",
        "Dir::Cache": apt / "caches",
        "Dir::Cache::archives": archives,
        "APT::Sandbox::User": "root",
        "APT::Install-Recommends": "false",
        "Dir::Log::Planner": "/dev/null",
    }
    given = [part for key, value in options.items() for part in ("-o", f"{key}={value}")]
    return run(program, "-qq", *given, *words)
