"""Parts of an installation that several kinds of test share."""

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path, PurePosixPath
from typing import Any

import asyncssh

from activities.machine.first_boot import UserDataRenderer, host_files
from relight.domain.service import Service
from relight.hosts import host_program
from relight.hosts.cloud_init.user_data import (
    SERVICE_FILES,
    AptSource,
    UserDataTemplate,
    source_files,
)
from relight.hosts.host_settings import HostSettings
from relight.hosts.key_files import fixed_keys

HOST_KEY_SECRET = bytes(range(32))

OWNER = "relight-tests"
"""The ownership tag of the tests' machines."""

SERVICE = Service(
    package="lantern-box",
    unit="lantern-box.service",
    executable="/usr/bin/lantern-box",
    stability_window=timedelta(milliseconds=50),
)


def user_data_renderer(client_key: asyncssh.SSHKey, **options: Any) -> UserDataRenderer:
    """Return a user-data renderer as a worker builds it, with the options of `first_boot_parts`."""
    return first_boot_parts(client_key, **options)[0]


def first_boot_parts(  # noqa: PLR0913 - what a worker has in its settings
    client_key: asyncssh.SSHKey,
    *,
    repository_url: str = "http://repository.example",
    signing_key: bytes = b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n",
    service_files: Path | None = None,
    secrets: Mapping[str, str] | None = None,
    by_apt: bool = True,
    deb_urls: str = "",
    pushed: bool = False,
) -> tuple[UserDataRenderer, HostSettings]:
    """Return a user-data renderer, and what hosts get at their first login, as a worker does."""
    source = AptSource(
        path=PurePosixPath("/etc/apt", host_program.SOURCES_FILE),
        url=repository_url,
        suite="stable",
        component="main",
        signing_key=signing_key,
    )
    told, short = [
        host_files(SERVICE, deb_urls, pushed=pushed, first_boot=each) for each in (False, True)
    ]
    renderer = UserDataRenderer(
        template=UserDataTemplate(
            source if by_apt else None,
            service_files or SERVICE_FILES,
            {"LANTERN_TOKEN": "a-service-secret"} if secrets is None else secrets,
            short,
        ),
        service=SERVICE,
        ssh_user="relight",
        keys=fixed_keys(client_key, HOST_KEY_SECRET),
    )
    return renderer, HostSettings((*told, *(source_files(source) if by_apt else ())))
