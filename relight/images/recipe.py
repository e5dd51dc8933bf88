"""The inputs of an image: what its contents follow from, and their digest."""

import hashlib
import json
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from relight.images.programs import ImageBuildError, require_programs, run

FOLDER = Path(__file__).parents[2] / "images"
"""The folder of the recipe in the repository: scripts, lists of packages, files of a machine."""

_LINE = re.compile(r"'(?P<uri>\S+)' (?P<file>\S+) \d+ SHA256:(?P<sha256>[0-9a-f]{64})")
_MINIMAL = ("?essential", "?priority(required)", "apt")
"""What mmdebstrap's variant `minbase` installs, in apt's words."""
_FILES = frozenset(("apt-sources", "make-root", "machine", "packages"))
"""What of the recipe's folder is on a disk, or decides it. The script counts by its text."""

_CODE = ("bootable_disk.py", "build.py", "contents.py", "recipe.py")
"""The files of this package that determine what is on a disk."""


class Download(NamedTuple):
    """A package that the build installs.

    Attributes:
        name: of the package.
        version: of the package.
        sha256: digest of its file.
    """

    name: str
    version: str
    sha256: str


@dataclass(frozen=True)
class Recipe:
    """What a build starts from.

    Attributes:
        distribution: and its version, as in `debian-12`.
        architecture: Debian's name, as in `amd64`.
        provision: the script that runs in the root folder.
        contract_sha256: digest of the contract.
        packages: those of the contract, by name.
        folder: of the recipe.
    """

    distribution: str
    architecture: str
    provision: str
    contract_sha256: str
    packages: Sequence[str]
    folder: Path = FOLDER

    def names(self) -> list[str]:
        """Return the names of all packages that are asked for, without those they depend on."""
        return list(dict.fromkeys([*self.machine_packages(), *self.packages]))

    def machine_packages(self) -> list[str]:
        """Return what a virtual machine needs besides the contract: kernel, boot loader, network.

        Raises:
            ImageBuildError: the recipe is not here, or has no list for this architecture.
        """
        if not self.folder.is_dir():
            raise ImageBuildError(
                f"an image is built in a checkout of Relight: {self.folder} is not here"
            )
        file = self.folder / f"packages/machine-{self.architecture}"
        if not file.is_file():
            raise ImageBuildError(f"no image is made for {self.architecture}: there is no {file}")
        lines = (line.partition("#")[0].strip() for line in file.read_text().splitlines())
        return [line for line in lines if line]

    def downloads(self) -> list[Download]:
        """Return the packages that a build would install now, ordered by name.

        Raises:
            ImageBuildError: this computer has no apt source for it, or a source does not answer.
            NoProgramError: it has no apt.
        """
        names = self.names()
        require_programs(["apt-get"])
        sources = run(self.folder / "apt-sources", self.distribution)
        with tempfile.TemporaryDirectory() as folder:
            return _resolved(Path(folder), sources, self.architecture, names)

    def identity(self, downloads: Sequence[Download]) -> str:
        """Return the digest of all inputs. With the same inputs nothing is built again."""
        code = [Path(__file__).with_name(name) for name in _CODE]
        files = [path for path in sorted(self.folder.rglob("*")) if _is_input(path, self.folder)]
        inputs = {
            "distribution": self.distribution,
            "architecture": self.architecture,
            "contract": self.contract_sha256,
            "provision": self.provision,
            "files": {
                **{str(path.relative_to(self.folder)): _digest(path) for path in files},
                **{f"code/{path.name}": _digest(path) for path in code},
            },
            "downloads": downloads,
        }
        return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()


def _is_input(path: Path, folder: Path) -> bool:
    return path.is_file() and path.relative_to(folder).parts[0] in _FILES


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _resolved(
    folder: Path, sources: str, architecture: str, names: Sequence[str]
) -> list[Download]:
    """Return what apt would download for a new system with these packages."""
    for name in ("lists/partial", "archives/partial"):
        (folder / name).mkdir(parents=True)
    (folder / "sources.list").write_text(sources)
    (folder / "status").touch()
    options = {
        "Dir::State::status": folder / "status",
        "Dir::State::lists": folder / "lists",
        "Dir::Etc::sourcelist": folder / "sources.list",
        "Dir::Etc::sourceparts": "-",
        "Dir::Cache": folder,
        "Dir::Cache::archives": folder / "archives",
        "APT::Architecture": architecture,
        "APT::Architectures": architecture,
        "APT::Install-Recommends": "false",
        "APT::Sandbox::User": "root",
        "Acquire::Languages": "none",
        # Else apt names the weakest digest that it knows.
        "Acquire::ForceHash": "SHA256",
        "Dir::Log::Planner": "/dev/null",
    }
    given = [part for key, value in options.items() for part in ("-o", f"{key}={value}")]
    run("apt-get", "-qq", *given, "update", "--error-on=any")
    words = ("install", "-y", "--print-uris", *_MINIMAL, *names)
    found = _LINE.finditer(run("apt-get", "-qq", *given, *words))
    downloads = [Download(*_name_and_version(match["file"]), match["sha256"]) for match in found]
    if not downloads:
        raise ImageBuildError("apt names no package to download, or none by a SHA-256 digest")
    return sorted(downloads)


def _name_and_version(file: str) -> tuple[str, str]:
    """Return the package and version of a file's name, in which apt escapes colons."""
    name, version, _ = file.split("_")
    return name, version.replace("%3a", ":")
