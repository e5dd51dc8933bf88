"""Where the .deb of a package is found: beside another one, in the source of releases, or by apt.

Block. Raise `RepositoryError`.
"""

import asyncio
import hashlib
import os
import subprocess
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Final

from debian.debian_support import Version

from relight.domain.text import visible_tail
from relight.releases.apt_repository import SeenIndexes
from relight.releases.deb_control import MAX_CONTROL_BYTES, IncompleteError, read_control
from relight.releases.errors import (
    ReleaseUnknownError,
    RepositoryError,
    RepositoryUnavailableError,
)
from relight.releases.package_files import MAX_DEB_BYTES
from relight.releases.source import SourceConfig, open_source

Find = Callable[[str], Path | None]
"""Returns the .deb of a package; None if there is none of this name."""

APT_TIMEOUT: Final = timedelta(minutes=5)
_MAX_BESIDE = 1000
_MAX_ANSWER_BYTES = 1000


def beside(file: Path) -> Find:
    """Return what finds packages in the folder of a .deb: the newest of several versions.

    A file is considered if its name begins with the name of the package, as `NAME_1.0_all.deb`.
    """

    def find(name: str) -> Path | None:
        found: list[tuple[Version, Path]] = []
        for each in sorted(file.absolute().parent.glob(f"{name}_*.deb"))[:_MAX_BESIDE]:
            try:
                with each.open("rb") as opened:
                    control = read_control(opened.read(MAX_CONTROL_BYTES))
            except (OSError, RepositoryError, IncompleteError):
                continue  # It is not what is looked for.
            if control.package == name:
                found.append((Version(control.version), each))
        return max(found)[1] if found else None

    return find


def by_apt(folder: Path) -> Find:
    """Return what downloads packages by this computer's own apt.

    Args:
        folder: an empty one, for the files.
    """

    def find(name: str) -> Path | None:
        into = folder / name
        into.mkdir()
        # LANGUAGE counts before LC_ALL.
        environment = {key: os.environ[key] for key in os.environ if key != "LANGUAGE"}
        try:
            ended = subprocess.run(  # noqa: S603 - a list of words; the name is one of a package
                # apt's own user may not write into the folder.
                ["apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", name],  # noqa: S607 - as installed
                cwd=into,
                env={**environment, "LC_ALL": "C"},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=APT_TIMEOUT.total_seconds(),
                check=False,
            )
        except FileNotFoundError:
            raise RepositoryUnavailableError("this computer has no apt-get") from None
        except subprocess.TimeoutExpired:
            raise RepositoryUnavailableError("apt-get does not end") from None
        files = sorted(into.glob("*.deb"))
        if ended.returncode == 0 and files:
            return files[0]
        answer = visible_tail(ended.stderr.decode(errors="replace").strip(), _MAX_ANSWER_BYTES)
        if "Unable to locate package" in answer or "no installation candidate" in answer:
            return None
        raise RepositoryUnavailableError(f"apt-get download {name}: {answer or 'no answer'}")

    return find


def in_source(config: SourceConfig, folder: Path, seen: SeenIndexes | None = None) -> Find:
    """Return what downloads packages from a source of releases: the newest version of each.

    Args:
        config: of the source.
        folder: an empty one, for the files.
        seen: the newest indexes that were seen.
    """

    async def download(name: str) -> Path | None:
        source = open_source(config, name, seen)
        try:
            releases = (await source.list_releases()).releases
            if not releases:
                return None
            release = releases[-1]
            deb_file = release.deb_files[0]
            if deb_file.size_bytes > MAX_DEB_BYTES:
                raise RepositoryError(f"{deb_file.filename} is too large")
            file, digest = folder / f"{name}.deb", hashlib.sha256()
            with file.open("xb") as opened:
                async for chunk in source.download(release, deb_file):
                    digest.update(chunk)
                    opened.write(chunk)
            if digest.hexdigest() != deb_file.sha256:
                raise RepositoryUnavailableError(
                    f"the content of {deb_file.filename} differs from its SHA-256"
                )
        except ReleaseUnknownError:
            return None
        finally:
            await source.close()
        return file

    return lambda name: asyncio.run(download(name))
