"""Where releases come from, by the settings: one place, or a clear refusal."""

from pathlib import Path

import pytest

from relight.release_source import package_files, release_source_config
from relight.releases.apt_repository import AptRepository
from relight.releases.github_releases import GitHubReleases
from relight.releases.local_directory import LocalDirectory
from relight.releases.source import (
    AptSourceConfig,
    DirectorySourceConfig,
    GitHubSourceConfig,
    open_source,
)
from relight.setting_groups import (
    DirectorySettings,
    GitHubSettings,
    PackageSettings,
    RepositorySettings,
    SettingsError,
)
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


def with_login(tmp_path: Path, password: str, **changed: object) -> Settings:
    file = tmp_path / "password"
    file.write_text(password)
    values = {"user": "relight", "password_file": file, **changed}
    return Settings(repository=APT.model_copy(update=values))


def test_a_login_has_its_password_from_a_file_and_never_shows_it(tmp_path: Path) -> None:
    place = release_source_config(with_login(tmp_path, "squirrel\n"))
    assert isinstance(place, AptSourceConfig)
    assert place.login is not None
    assert place.login.password.get_secret_value() == "squirrel"
    assert "squirrel" not in repr(place)


@pytest.mark.parametrize(
    ("password", "changed", "expected"),
    [
        ("a b", {}, "no password that apt can read"),
        ("", {}, "no password that apt can read"),
        ("ü", {}, "no password that apt can read"),
        ("x", {"user": ""}, "belong together"),
        ("x", {"password_file": None}, "belong together"),
        ("x", {"url": "https://relight:x@packages.example"}, "has a user in it"),
        ("x", {"url": "file:///srv/apt"}, "over http and https only"),
    ],
)
def test_a_repository_that_cannot_be_used_is_refused(
    tmp_path: Path, password: str, changed: dict[str, object], expected: str
) -> None:
    with pytest.raises(SettingsError, match=expected):
        release_source_config(with_login(tmp_path, password, **changed))


def test_more_repositories_are_read_from_json(monkeypatch: pytest.MonkeyPatch) -> None:
    text = '[{"url": "https://second.example", "suite": "./", "signing_key": "/second.asc"}]'
    monkeypatch.setenv("RELIGHT_MORE_REPOSITORIES", text)
    place = release_source_config(Settings(repository=APT))
    assert isinstance(place, AptSourceConfig)
    [second] = place.more
    assert (second.url, second.suite, second.component) == ("https://second.example", "./", "")


async def test_a_folder_is_a_place_and_its_packages_are_brought(tmp_path: Path) -> None:
    settings = Settings(repository=NOTHING, directory=DirectorySettings(path=tmp_path))
    place = release_source_config(settings)
    assert place == DirectorySourceConfig(tmp_path)
    assert place.deb_urls == ""
    assert isinstance(open_source(place, "lantern-box"), LocalDirectory)
    assert package_files(settings) is not None
    with pytest.raises(SettingsError, match="RELIGHT_DIRECTORY__PATH is set, and so is another"):
        release_source_config(settings.model_copy(update={"github": GITHUB}))


def test_a_private_repository_needs_a_token_and_gives_hosts_no_address(tmp_path: Path) -> None:
    github = GITHUB.model_copy(update={"private": True})
    with pytest.raises(SettingsError, match="RELIGHT_GITHUB__TOKEN_FILE is not"):
        release_source_config(Settings(repository=NOTHING, github=github))
    file = tmp_path / "token"
    file.write_text("squirrel")
    settings = Settings(repository=NOTHING, github=github.model_copy(update={"token_file": file}))
    assert release_source_config(settings).deb_urls == ""
    assert package_files(settings) is not None


def test_packages_are_kept_only_where_hosts_take_them() -> None:
    assert package_files(Settings(repository=APT)) is None
    assert package_files(Settings(repository=APT, packages=PackageSettings(push=True)))
