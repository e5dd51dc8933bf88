"""Where releases come from, by the settings: one place, or a clear refusal."""

from pathlib import Path

import pytest

from relight.release_source import release_source_config
from relight.releases.apt_repository import AptRepository
from relight.releases.github_releases import GitHubReleases
from relight.releases.source import (
    AptSourceConfig,
    GitHubSourceConfig,
    open_source,
)
from relight.setting_groups import GitHubSettings, RepositorySettings, SettingsError
from relight.settings import Settings

APT = RepositorySettings(url="https://packages.example", signing_key=Path("/key.asc"))
GITHUB = GitHubSettings(repository="owner/name")
NOTHING = RepositorySettings()


async def test_an_apt_repository_is_one() -> None:
    place = release_source_config(Settings(repository=APT))
    assert place == AptSourceConfig("https://packages.example", "stable", "main", Path("/key.asc"))
    source = open_source(place, "lantern-box")
    assert isinstance(source, AptRepository)
    await source.close()


async def test_githubs_own_api_is_the_default_and_the_token_is_never_shown(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("squirrel\n")
    github = GITHUB.model_copy(update={"token_file": file})
    place = release_source_config(Settings(repository=NOTHING, github=github))
    assert isinstance(place, GitHubSourceConfig)
    assert (place.repository, place.api_url) == ("owner/name", "https://api.github.com")
    assert place.token is not None
    assert place.token.get_secret_value() == "squirrel"
    assert "squirrel" not in repr(place)
    source = open_source(place, "lantern-box")
    assert isinstance(source, GitHubReleases)
    await source.close()


def test_two_places_are_refused_by_both_names() -> None:
    with pytest.raises(SettingsError, match=r"REPOSITORY__URL.*GITHUB__REPOSITORY.*both"):
        release_source_config(Settings(repository=APT, github=GITHUB))


def test_no_place_is_refused() -> None:
    with pytest.raises(SettingsError, match="RELIGHT_REPOSITORY__URL is not set"):
        release_source_config(Settings(repository=NOTHING))


@pytest.mark.parametrize("text", ["name", "a/b/c", "https://github.com/a/b", "a/b?x", "-a/b"])
def test_what_is_no_repository_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="not OWNER/NAME"):
        release_source_config(Settings(repository=NOTHING, github=GitHubSettings(repository=text)))


def test_a_token_that_is_not_there_is_refused_by_its_path() -> None:
    github = GITHUB.model_copy(update={"token_file": Path("/no/such/token")})
    with pytest.raises(OSError, match="/no/such/token"):
        release_source_config(Settings(repository=NOTHING, github=github))
