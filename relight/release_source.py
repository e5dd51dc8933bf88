"""The configuration of the source of releases, from the settings."""

import re
from dataclasses import replace
from urllib.parse import urlsplit

from pydantic import SecretStr

from relight.releases.apt_repository import is_flat
from relight.releases.package_files import PackageFiles
from relight.releases.source import (
    AptSourceConfig,
    DirectorySourceConfig,
    GitHubSourceConfig,
    Login,
    SourceConfig,
)
from relight.setting_groups import GitHubSettings, RepositorySettings, SettingsError
from relight.settings import Settings, required

_REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*/[A-Za-z0-9._-]+")


def release_source_config(settings: Settings) -> SourceConfig:
    """Return the configured source of releases.

    Raises:
        SettingsError: none is set, two are set, or a value is invalid.
        OSError: the file with GitHub's token, or with a password, cannot be read.
    """
    repository, github = settings.repository, settings.github
    if github.repository and repository.url:
        raise SettingsError(
            "RELIGHT_REPOSITORY__URL and RELIGHT_GITHUB__REPOSITORY are both set: releases come "
            "from one source; unset the other"
        )
    if settings.directory.path and (github.repository or repository.url):
        raise SettingsError(
            "RELIGHT_DIRECTORY__PATH is set, and so is another source: releases come from one "
            "source; unset the other"
        )
    if len(settings.service.packages) > 1 and not repository.url:
        raise SettingsError(
            "RELIGHT_SERVICE__PACKAGES names several packages: only from an apt repository "
            "(RELIGHT_REPOSITORY__URL) do they move together"
        )
    if settings.directory.path:
        return DirectorySourceConfig(settings.directory.path)
    if github.repository:
        return _github(github)
    first = _apt(repository, "REPOSITORY")
    more = tuple(
        _apt(each, f"MORE_REPOSITORIES[{number}]")
        for number, each in enumerate(settings.more_repositories)
    )
    return replace(first, more=more)


def brings_packages(settings: Settings) -> bool:
    """Whether hosts take packages from the control plane."""
    return bool(
        settings.packages.push or settings.directory.path is not None or settings.github.private
    )


def package_files(settings: Settings) -> PackageFiles | None:
    """Return the packages that the control plane keeps; None if it brings none to hosts."""
    packages = settings.packages
    if not brings_packages(settings):
        return None
    folder = packages.folder or settings.home / "packages"
    return PackageFiles(folder, packages.max_files, packages.max_bytes)


def _apt(repository: RepositorySettings, name: str) -> AptSourceConfig:
    """Return one repository.

    Args:
        repository: its settings.
        name: of the settings, without `RELIGHT_`.
    """
    group = name.lower()
    url = required(repository.url, group, "url")
    address = urlsplit(url)
    if "@" in address.netloc:
        raise SettingsError(
            f"RELIGHT_{name}__URL has a user in it, and hosts and messages have the URL: set "
            f"RELIGHT_{name}__USER and RELIGHT_{name}__PASSWORD_FILE"
        )
    if address.scheme not in {"http", "https"}:
        raise SettingsError(
            f"RELIGHT_{name}__URL is {url!r}: apt repositories are read over http and https only"
        )
    return AptSourceConfig(
        url=url,
        suite=repository.suite,
        component="" if is_flat(repository.suite) else repository.component,
        signing_key=required(repository.signing_key, group, "signing_key"),
        fingerprint=repository.signing_key_fingerprint,
        max_age=repository.max_age,
        architectures=repository.architectures,
        login=_login(repository, name),
    )


def _login(repository: RepositorySettings, name: str) -> Login | None:
    if bool(repository.user) != bool(repository.password_file):
        raise SettingsError(
            f"RELIGHT_{name}__USER and RELIGHT_{name}__PASSWORD_FILE belong together: one is set"
        )
    if repository.password_file is None:
        return None
    password = repository.password_file.read_text().strip()
    # In a file of apt's, a blank would end it.
    if not password or any(not "!" <= character <= "~" for character in password):
        raise SettingsError(
            f"RELIGHT_{name}__PASSWORD_FILE, {repository.password_file}, has no password that apt "
            "can read: printable ASCII without blanks"
        )
    return Login(repository.user, SecretStr(password))


def _github(github: GitHubSettings) -> GitHubSourceConfig:
    if not _REPOSITORY.fullmatch(github.repository):
        raise SettingsError(f"RELIGHT_GITHUB__REPOSITORY is {github.repository!r}, not OWNER/NAME")
    if github.private and github.token_file is None:
        raise SettingsError(
            "RELIGHT_GITHUB__PRIVATE is set, and RELIGHT_GITHUB__TOKEN_FILE is not: a private "
            "repository can be read with a token only"
        )
    token = SecretStr(github.token_file.read_text().strip()) if github.token_file else None
    return GitHubSourceConfig(
        repository=github.repository,
        api_url=github.api_url,
        download_url=github.download_url,
        token=token,
        public_key=github.public_key,
        assets=github.assets,
        private=github.private,
    )
