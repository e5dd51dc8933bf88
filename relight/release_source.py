"""The configuration of the source of releases, from the settings."""

import re

from pydantic import SecretStr

from relight.releases.source import (
    AptSourceConfig,
    GitHubSourceConfig,
    SourceConfig,
)
from relight.setting_groups import GitHubSettings, SettingsError
from relight.settings import Settings, required

_REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*/[A-Za-z0-9._-]+")


def release_source_config(settings: Settings) -> SourceConfig:
    """Return the configured source of releases.

    Raises:
        SettingsError: none is set, two are set, or a value is invalid.
        OSError: the file with GitHub's token cannot be read.
    """
    repository, github = settings.repository, settings.github
    if github.repository and repository.url:
        raise SettingsError(
            "RELIGHT_REPOSITORY__URL and RELIGHT_GITHUB__REPOSITORY are both set: releases come "
            "from one source; unset the other"
        )
    if github.repository:
        return _github(github)
    return AptSourceConfig(
        url=required(repository.url, "repository", "url"),
        suite=repository.suite,
        component=repository.component,
        signing_key=required(repository.signing_key, "repository", "signing_key"),
        fingerprint=repository.signing_key_fingerprint,
        max_age=repository.max_age,
    )


def _github(github: GitHubSettings) -> GitHubSourceConfig:
    if not _REPOSITORY.fullmatch(github.repository):
        raise SettingsError(f"RELIGHT_GITHUB__REPOSITORY is {github.repository!r}, not OWNER/NAME")
    token = SecretStr(github.token_file.read_text().strip()) if github.token_file else None
    return GitHubSourceConfig(
        repository=github.repository,
        api_url=github.api_url,
        download_url=github.download_url,
        token=token,
        public_key=github.public_key,
        assets=github.assets,
    )
