"""Machines for tests: user-data with its own host key, and SSH that accepts only that key."""

import asyncio
import json
import uuid
from dataclasses import dataclass, field
from typing import Any

import asyncssh

CLIENT_KEY = asyncssh.generate_private_key("ssh-ed25519")


@dataclass(frozen=True)
class Guest:
    """The configuration of a machine for its first boot."""

    label: str = field(default_factory=lambda: f"guest-{uuid.uuid4().hex[:6]}")
    host_key: asyncssh.SSHKey = field(
        default_factory=lambda: asyncssh.generate_private_key("ssh-ed25519")
    )
    files: dict[str, str] = field(default_factory=dict)
    commands: tuple[tuple[str, ...], ...] = ()

    @property
    def user_data(self) -> str:
        config: dict[str, Any] = {
            "ssh_deletekeys": False,
            "ssh_genkeytypes": [],
            "ssh_keys": {
                "ed25519_private": self.host_key.export_private_key().decode(),
                "ed25519_public": self.host_key.export_public_key().decode(),
            },
            "users": [
                {
                    "name": "keeper",
                    "shell": "/bin/bash",
                    "sudo": "ALL=(ALL) NOPASSWD:ALL",
                    "ssh_authorized_keys": [CLIENT_KEY.export_public_key().decode()],
                }
            ],
            "write_files": [
                {"path": path, "content": content, "permissions": "0640"}
                for path, content in self.files.items()
            ],
            "runcmd": [list(command) for command in self.commands],
        }
        return "#cloud-config\n" + json.dumps(config)

    async def ssh(self, address: str, command: str, seconds: float = 30) -> str:
        """Run a command over SSH as soon as sshd answers; accept only the guest's host key."""
        public = self.host_key.export_public_key().decode()
        known = asyncssh.import_known_hosts(f"{address} {public}")
        async with asyncio.timeout(seconds):
            while True:
                try:
                    async with asyncssh.connect(
                        address,
                        username="keeper",
                        client_keys=[CLIENT_KEY],
                        known_hosts=known,
                        config=None,
                        connect_timeout=5,
                    ) as connection:
                        done = await connection.run(command, check=True)
                        return str(done.stdout)
                except (OSError, asyncssh.DisconnectError):
                    await asyncio.sleep(0.05)
