"""Settings of providers: a file, variables before it, and words that name what is wrong where."""

from pathlib import Path

import pytest

from relight.locations import configured_drivers, provider_settings
from relight.providers.linode.driver import LinodeDriver, LinodeSettings
from relight.setting_groups import SettingsError
from relight.settings import Settings

WHOLE = """
[linode]
token_file = "linode-token"

[linode.locations.us-east]
shapes = ["g6-nanode-1"]
image_prefix = "relight-base-"
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RELIGHT_HOME", str(tmp_path))
    (tmp_path / "linode-token").write_text("a-token\n")
    return tmp_path


def settings_with(home: Path, text: str) -> Settings:
    (home / "providers.toml").write_text(text)
    return Settings(home=home)


async def test_the_file_gives_a_driver_and_its_regions(home: Path):
    drivers = configured_drivers(settings_with(home, WHOLE))
    driver = drivers["linode"]
    assert isinstance(driver, LinodeDriver)
    assert [each.name for each in await driver.regions()] == ["us-east"]
    await driver.close()


def test_a_variable_counts_before_the_file(home: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RELIGHT_PROVIDERS__LINODE__TOKEN_FILE", "/run/secrets/linode")
    found = provider_settings(settings_with(home, WHOLE), "linode")
    assert isinstance(found, LinodeSettings)
    assert found.token_file == Path("/run/secrets/linode")
    assert list(found.locations) == ["us-east"]


def test_variables_alone_are_enough(home: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RELIGHT_PROVIDERS__LINODE__TOKEN_FILE", str(home / "linode-token"))
    locations = '{"eu-west": {"shapes": ["g6-nanode-1"], "image": "linode/debian12"}}'
    monkeypatch.setenv("RELIGHT_PROVIDERS__LINODE__LOCATIONS", locations)
    found = provider_settings(Settings(home=home), "linode")
    assert found.regions("linode")[0].name == "eu-west"


def test_a_relative_path_is_as_of_the_folder_of_the_file(home: Path):
    found = provider_settings(settings_with(home, WHOLE), "linode")
    assert isinstance(found, LinodeSettings)
    assert found.token_file == home / "linode-token"


def test_without_anything_nothing_is_configured(home: Path):
    assert configured_drivers(Settings(home=home)) == {}


WRONG = {
    "an unknown key": (
        WHOLE.replace("token_file", "tokenfile"),
        "{file}: linode.tokenfile: Extra inputs are not permitted",
    ),
    "a region without shapes": (
        WHOLE.replace('shapes = ["g6-nanode-1"]\n', ""),
        "{file}: linode.locations.us-east.shapes: Field required",
    ),
    "an empty list": (
        WHOLE.replace('["g6-nanode-1"]', "[]"),
        "{file}: linode.locations.us-east.shapes: Tuple should have at least 1 item",
    ),
    "two images": (
        WHOLE + 'image = "linode/debian12"\n',
        "{file}: linode.locations.us-east: set image or image_prefix, and not both",
    ),
    "a zone": (WHOLE + 'zones = ["a"]\n', "linode: locations.us-east: Linode has no zones"),
    "a driver that there is not": (
        "[linod]\n",
        "there is no driver linod; the drivers: alibaba, gcore, linode, oci, openstack",
    ),
    "a key outside of a table": ("token_file = 'x'\n", "{file}: token_file: stands in no table"),
    "no TOML": ("[linode", "{file} is no TOML"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_named_with_its_file_and_key(home: Path, what: str):
    text, expected = WRONG[what]
    with pytest.raises(SettingsError) as refused:
        configured_drivers(settings_with(home, text))
    assert expected.format(file=home / "providers.toml") in str(refused.value)


def test_what_is_wrong_in_a_variable_is_named_by_it(home: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RELIGHT_PROVIDERS__LINODE__TIMEOUT", "soon")
    with pytest.raises(SettingsError, match=r"^RELIGHT_PROVIDERS__LINODE__TIMEOUT: "):
        configured_drivers(settings_with(home, WHOLE))


def test_a_secrets_file_that_cannot_be_read_is_named_and_its_content_never(home: Path):
    settings = settings_with(home, WHOLE)
    (home / "linode-token").unlink()
    with pytest.raises(SettingsError, match="linode-token cannot be read: no such file"):
        configured_drivers(settings)
