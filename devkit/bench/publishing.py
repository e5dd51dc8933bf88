"""The repository between rounds: a release appears in it as in life, and is taken back."""

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
    """Publishes in the place of the lab's own release automation, with its key."""

    def __init__(self, lab_state: Path) -> None:
        self._root = lab_state / "repository"
        self._key = SigningKey(lab_state / "gnupg", lab_state / "signing-key.asc")

    async def publish(self, *versions: str) -> None:
        """Have the repository offer these versions and no others."""
        debs = await packages.built_packages()
        await asyncio.to_thread(self._publish, debs, versions)

    def _publish(self, debs: Path, versions: tuple[str, ...]) -> None:
        architecture = image.architecture()
        names = {f"{packages.PACKAGE}_{version}_{architecture}.deb" for version in versions}
        for deb in (self._root / "pool").rglob("*.deb"):
            if deb.name not in names:
                deb.unlink()
        with tempfile.TemporaryDirectory() as folder:
            for name in names:
                shutil.copy(debs / name, folder)
            repository.publish(self._root, Path(folder), self._key, architecture)


async def deb_of(version: str) -> Path:
    """Return the file of a release."""
    debs = await packages.built_packages()
    return debs / f"{packages.PACKAGE}_{version}_{image.architecture()}.deb"
