"""What a worker has of an image: the disk and the manifest of one build, or words about it."""

import json

import pytest

from relight.images.folder import MAX_MANIFEST_BYTES, ImageFolder, ImageUnusableError
from tests.support.image_disks import write_disk

NAME = "base-1-amd64"


@pytest.fixture
def folder(tmp_path):
    manifest, _ = write_disk(tmp_path, NAME)
    (tmp_path / f"{NAME}.json").write_text(manifest.model_dump_json())
    return tmp_path


def test_an_image_whose_disk_is_its_builds_can_be_used(folder):
    manifest, disk = write_disk(folder, NAME)
    assert ImageFolder(folder).checked(NAME) == manifest
    assert ImageFolder(folder).disk(manifest) == disk


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("qcow2", None, "no such file"),
        ("json", None, "no such file"),
        ("qcow2", b"short", "it has 5 bytes"),
        ("json", b"{}", "it is no manifest of an image"),
        ("json", b"\xff\xfe", "it is no manifest of an image"),
        ("json", b" " * (MAX_MANIFEST_BYTES + 1), "more than"),
    ],
)
def test_what_is_missing_or_damaged_is_named(folder, file, content, words):
    path = folder / f"{NAME}.{file}"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ImageUnusableError, match=words) as error:
        ImageFolder(folder).checked(NAME)
    assert str(path) in str(error.value)


def test_another_content_of_the_same_size_is_not_the_disk(folder):
    disk = folder / f"{NAME}.qcow2"
    disk.write_bytes(disk.read_bytes()[:-1] + b"!")
    with pytest.raises(ImageUnusableError, match="its SHA-256 is"):
        ImageFolder(folder).checked(NAME)


def test_the_manifest_of_another_image_is_refused(folder):
    path = folder / f"{NAME}.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "name": "base-2-amd64"}))
    with pytest.raises(ImageUnusableError, match="it is the manifest of base-2-amd64"):
        ImageFolder(folder).checked(NAME)
