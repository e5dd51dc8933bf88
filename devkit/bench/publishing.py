"""The lab's repository between rounds: a release is published, and removed again."""

import asyncio
import shutil
import tempfile
from pathlib import Path

from lab import image, packages, repository
from lab.repository import SigningKey

BEFORE = "0.0.73"
AFTER = "0.0.74"
AFTER_TAG = f"v{AFTER}"


class Publisher:
    """Publishes to the repository of a lab, with the lab's own key.

    Args:
        lab_state: the lab's state folder.
    """

    def __init__(self, lab_state: Path) -> None:
        self._root = lab_state / "repository"
        self._key = SigningKey(lab_state / "gnupg", lab_state / "signing-key.asc")

    async def publish(self, *versions: str) -> None:
        """Publish exactly these versions; all others are removed."""
        debs = await packages.built_packages()
        await asyncio.to_thread(self._publish, debs, versions)

    def _publish(self, debs: Path, versions: tuple[str, ...]) -> None:
        architecture = image.architecture()
        names = {_deb_name(version, architecture) for version in versions}
        for deb in (self._root / "pool").rglob("*.deb"):
            if deb.name not in names:
                deb.unlink()
        with tempfile.TemporaryDirectory() as folder:
            for name in names:
                shutil.copy(debs / name, folder)
            repository.publish(self._root, Path(folder), self._key, architecture)


async def deb_of(version: str) -> Path:
    """Return the .deb file of a version."""
    return await packages.built_packages() / _deb_name(version, image.architecture())


def _deb_name(version: str, architecture: str) -> str:
    return f"{packages.PACKAGE}_{version}_{architecture}.deb"
