"""The folder of images on a worker: `NAME.qcow2`, and its build's manifest `NAME.json`."""

import hashlib
from pathlib import Path

from pydantic import ValidationError

from relight.domain.error_words import error_words
from relight.domain.fault.error import DomainError
from relight.domain.image.image import ImageManifest, ImageName

MAX_MANIFEST_BYTES = 1024 * 1024

_BLOCK = 1024 * 1024


class ImageUnusableError(DomainError):
    """An image's disk or its manifest is missing, or they do not fit each other."""

    kind = "image-unusable"


class ImageFolder:
    """The images that a worker can publish. Its calls read files, and block."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def disk(self, manifest: ImageManifest) -> Path:
        """Return the file of an image's disk. It is not read.

        Raises:
            ImageUnusableError: it is missing, or has another size than its manifest says.
        """
        file = self._path / f"{manifest.name}.qcow2"
        try:
            size = file.stat().st_size
        except OSError as error:
            raise ImageUnusableError(f"{file}: {error_words(error)}") from error
        if size != manifest.disk_bytes:
            raise ImageUnusableError(
                f"{file}: it has {size} bytes, and its manifest says {manifest.disk_bytes}"
            )
        return file

    def manifest(self, name: ImageName) -> ImageManifest:
        """Return the manifest of an image.

        Raises:
            ImageUnusableError: it has none, or one of another image.
        """
        file = self._path / f"{name}.json"
        try:
            with file.open("rb") as opened:
                content = opened.read(MAX_MANIFEST_BYTES + 1)
        except OSError as error:
            raise ImageUnusableError(f"{file}: {error_words(error)}") from error
        if len(content) > MAX_MANIFEST_BYTES:
            raise ImageUnusableError(f"{file}: it has more than {MAX_MANIFEST_BYTES} bytes")
        try:
            manifest = ImageManifest.model_validate_json(content)
        except ValidationError as error:
            raise ImageUnusableError(f"{file}: it is no manifest of an image: {error}") from error
        if manifest.name != name:
            raise ImageUnusableError(f"{file}: it is the manifest of {manifest.name}")
        return manifest

    def checked(self, name: ImageName) -> ImageManifest:
        """Return the manifest of an image whose disk was read, and is the one of its build.

        Raises:
            ImageUnusableError: it is not, or one of them is missing.
        """
        manifest = self.manifest(name)
        disk, digest = self.disk(manifest), hashlib.sha256()
        try:
            with disk.open("rb") as opened:
                while block := opened.read(_BLOCK):
                    digest.update(block)
        except OSError as error:
            raise ImageUnusableError(f"{disk}: {error_words(error)}") from error
        if digest.hexdigest() != manifest.disk_sha256:
            raise ImageUnusableError(
                f"{disk}: its SHA-256 is {digest.hexdigest()}, and its manifest says"
                f" {manifest.disk_sha256}"
            )
        return manifest
