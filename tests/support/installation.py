"""The parts of an installation that tests of several kinds share."""

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path, PurePosixPath

import asyncssh

from activities.cloud_init import UserDataRenderer, host_files
from activities.daemon import Daemon
from remote import helper
from remote.identity import public_line
from templates.user_data import DAEMON_FILES, AptSource, UserDataTemplate

HOST_KEY_SECRET = bytes(range(32))

OWNER = "relight-tests"
"""What the machines of the tests are tagged with."""

DAEMON = Daemon(
    package="lantern-box",
    unit="lantern-box.service",
    executable="/usr/bin/lantern-box",
    stability_window=timedelta(milliseconds=50),
)


def user_data_renderer(
    client_key: asyncssh.SSHKey,
    *,
    repository_url: str = "http://repository.example",
    signing_key: bytes = b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n",
    daemon_files: Path | None = None,
    secrets: Mapping[str, str] | None = None,
    by_apt: bool = True,
    deb_urls: str = "",
) -> UserDataRenderer:
    """Return a renderer of user-data, as a worker has it."""
    source = AptSource(
        path=PurePosixPath("/etc/apt", helper.SOURCES_FILE),
        url=repository_url,
        suite="stable",
        component="main",
        signing_key=signing_key,
    )
    return UserDataRenderer(
        template=UserDataTemplate(
            source if by_apt else None,
            daemon_files or DAEMON_FILES,
            {"LANTERN_TOKEN": "a-daemons-secret"} if secrets is None else secrets,
            host_files(DAEMON, deb_urls),
        ),
        daemon=DAEMON,
        ssh_user="relight",
        client_key_public=public_line(client_key, "relight"),
        host_key_secret=HOST_KEY_SECRET,
    )
