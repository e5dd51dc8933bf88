"""Base images for the store's tests."""

from relight.domain.image.image import ImageManifest, ImageRef
from relight.store.images import Place
from relight.store.store import Store
from tests.store.fleets import MANUAL


def manifest(name: str = "base-1-amd64", **changes: object) -> ImageManifest:
    return ImageManifest.model_validate(
        {
            "name": name,
            "architecture": "amd64",
            "distribution": "debian-12",
            "identity": "1" * 64,
            "contract_sha256": "2" * 64,
            "disk_sha256": "3" * 64,
            "disk_bytes": 1000,
            "virtual_bytes": 2000,
            "packages": {"nftables": "1.0.6-2+deb12u2"},
            **changes,
        }
    )


def ref(name: str, place: Place, image_id: str = "") -> ImageRef:
    return ImageRef(
        name=name,
        provider=place.provider,
        region=place.region,
        image_id=image_id or f"id-of-{name}-in-{place.region}",
    )


def publish(store: Store, place: Place, name: str = "base-1-amd64", **changes: object) -> None:
    """Put an image on record, published in a region."""
    store.images.record(manifest(name, **changes), MANUAL)
    store.images.open(name, [place], MANUAL)
    store.images.publish(ref(name, place), MANUAL)
