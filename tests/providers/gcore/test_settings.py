"""The table `[gcore]` of `providers.toml`, as the page on Gcore has it."""

from pathlib import Path

import pytest

from relight.locations import configured_drivers
from relight.setting_groups import SettingsError
from relight.settings import Settings

PAGE = Path(__file__).parents[3] / "docs" / "howto" / "gcore.md"


def example() -> str:
    return PAGE.read_text().partition("```toml\n")[2].partition("```")[0]


async def test_the_example_of_the_page_opens_a_driver(tmp_path):
    (tmp_path / "providers.toml").write_text(example())
    (tmp_path / "gcore.key").write_text("1234$abcdef\n")
    drivers = configured_drivers(Settings(home=tmp_path))
    [region] = await drivers["gcore"].regions()
    assert (region.provider, region.name, region.architecture) == ("gcore", "luxembourg-2", "amd64")
    await drivers["gcore"].close()


@pytest.mark.parametrize(
    ("given", "instead", "words"),
    [
        ("project_id = 1234", "", "gcore.project_id"),
        ("extra = { region_id = 76 }", "", "locations.luxembourg-2.extra.region_id"),
        ("shapes =", "shape =", "gcore.locations.luxembourg-2.shape"),
        ("gcore.key", "none.key", "none.key"),
    ],
)
def test_what_is_wrong_is_named_with_its_file_and_key(tmp_path, given, instead, words):
    (tmp_path / "providers.toml").write_text(example().replace(given, instead))
    (tmp_path / "gcore.key").write_text("1234$abcdef\n")
    with pytest.raises(SettingsError) as refused:
        configured_drivers(Settings(home=tmp_path))
    assert words in str(refused.value)
    assert "providers.toml" in str(refused.value) or "none.key" in words
    assert "1234$abcdef" not in str(refused.value)
