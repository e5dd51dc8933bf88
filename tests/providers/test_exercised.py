"""The page of what drivers were exercised against is that of the tests' record, and says enough."""

import pytest

from devkit.exercised import CALLS, ROOT, Against, Exercised, page, read_record
from relight.providers.registry import CLOUDS, PROVIDERS
from tests.support.image_clouds import IMAGE_FAKES


def test_the_page_is_made_of_the_record():
    assert (ROOT / "docs" / "providers.md").read_text() == "".join(page(read_record()))


@pytest.mark.parametrize("driver", CLOUDS)
def test_every_driver_of_a_cloud_was_exercised_against_its_fake_and_its_oracle(driver: str):
    calls = read_record().drivers[driver]
    for call in ("ensure", "find", "get", "list", "destroy"):
        assert {Against.FAKE, Against.ORACLE} <= set(calls[call]), call


@pytest.mark.parametrize("driver", IMAGE_FAKES)
def test_every_driver_with_base_images_was_exercised_against_its_fake_and_its_oracle(driver: str):
    calls = read_record().drivers[driver]
    for call in ("images", "image", "import_image", "delete_image", "image_of"):
        assert {Against.FAKE, Against.ORACLE} <= set(calls[call]), call


def test_no_page_says_that_a_live_account_was_used():
    rows = [line for line in page(Exercised()) if line.startswith("| ") and "never" in line]
    assert len(rows) == 2 * len(PROVIDERS)
    assert all(row.endswith("| never |\n") for row in rows)


def test_what_is_noted_twice_is_there_once_and_in_order():
    noted = Exercised()
    for against in (Against.ORACLE, Against.FAKE, Against.ORACLE):
        noted = noted.with_one("linode", "find", against)
    assert noted.drivers == {"linode": {"find": (Against.FAKE, Against.ORACLE)}}
    assert set(CALLS) > {"find"}
