"""A real image for the tests of this folder.

They run only when asked for, by `make test-image`: a build takes minutes, and so does a boot by an
emulator. With `RELIGHT_BUILT_IMAGES`, a folder, images that are there are used again.
"""

import os
from pathlib import Path

import pytest

from relight.images.build import BuiltImage, ImageOrder, build_image
from relight.images.contract_file import read_contract

ASKED_FOR = "RELIGHT_TEST_IMAGES"
FOLDER = "RELIGHT_BUILT_IMAGES"

collect_ignore_glob = [] if os.environ.get(ASKED_FOR) else ["test_*.py"]


def order(out: Path) -> ImageOrder:
    """Return the order of the default image for this computer."""
    return ImageOrder(
        contract=read_contract(),
        distribution="debian-12",
        architecture="amd64",
        out=out,
        keep_root=True,
    )


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of images."""
    given = os.environ.get(FOLDER)
    return Path(given).absolute() if given else tmp_path_factory.mktemp("images")


@pytest.fixture(scope="session")
def built(images: Path) -> BuiltImage:
    """The image, whose root folder was left as well."""
    return build_image(order(images))
