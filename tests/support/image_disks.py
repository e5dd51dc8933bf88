"""Small disks of base images, with their manifests."""

import hashlib
from pathlib import Path

from relight.domain.image.image import ImageManifest

CONTENT = b"QFI\xfb" + b"a small disk" * 1000


def write_disk(
    folder: Path, name: str = "relight-base-0.0.74-amd64", content: bytes = CONTENT
) -> tuple[ImageManifest, Path]:
    """Write the disk of an image; return its manifest and its file."""
    path = folder / f"{name}.qcow2"
    path.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    manifest = ImageManifest(
        name=name,
        architecture="arm64" if name.endswith("arm64") else "amd64",
        distribution="debian-12",
        identity=hashlib.sha256(f"inputs of {digest}".encode()).hexdigest(),
        contract_sha256="c" * 64,
        disk_sha256=digest,
        disk_bytes=len(content),
        virtual_bytes=8 * 1024**3,
        packages={"nftables": "1.0.6-2"},
    )
    return manifest, path
