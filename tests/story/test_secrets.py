"""No history, store or log of the demo contains a secret."""

import asyncio
import base64
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from relight.domain.liveness import LIVENESS_WORKFLOW_ID
from relight.hosts.keys import derive_host_key, load_secret
from starter.local.lab import addresses_of
from tests.story.conftest import Story

pytestmark = pytest.mark.lab

LONGEST_CHUNK = 32


def secrets_of(story: Story) -> dict[str, bytes]:
    """Return the bytes of each of the demo's secrets, by a description."""
    lab = addresses_of(story.home)
    assert lab is not None
    secret = load_secret(story.home / "host_key_secret")
    found = {
        "the host key secret, raw": secret,
        "the host key secret, in hexadecimal": secret.hex().encode(),
        "the lab's token": lab.token_file.read_bytes().strip(),
        "the service's secret": _service_secret(story.home),
    }
    keys = {"the client key": (story.home / "ssh_client_key").read_text()}
    for route_id in ("east-1", "east-2", "east-3", "west-1", "west-2", "west-3"):
        keys[f"{route_id}'s host key"] = derive_host_key(secret, f"{route_id}-g1").private
    for name, pem in keys.items():
        for number, chunk in enumerate(_private_chunks(pem)):
            found[f"{name}, part {number}"] = chunk
    # As in rendered user-data.
    return found | {
        f"{name}, in base64": base64.b64encode(value)[4:-4] for name, value in found.items()
    }


def _service_secret(home: Path) -> bytes:
    return (home / "service_secrets").read_bytes().strip().partition(b"=")[2]


def _private_chunks(pem: str) -> Iterator[bytes]:
    """Yield parts of the private half of a key in OpenSSH's form."""
    body = "".join(pem.splitlines()[1:-1])
    # The first half contains the type and the public key, which are not secret.
    private = body[len(body) // 2 :]
    for start in range(0, len(private) - LONGEST_CHUNK, LONGEST_CHUNK):
        yield private[start : start + LONGEST_CHUNK].encode()


async def every_history(story: Story) -> dict[str, bytes]:
    """Return every workflow history, with the payloads as plain bytes."""
    found = {}
    async for execution in story.client.list_workflows():
        handle = story.client.get_workflow_handle(execution.id, run_id=execution.run_id)
        history = await handle.fetch_history()
        events = b"".join(event.SerializeToString() for event in history.events)
        found[f"{execution.id} {execution.run_id}"] = events
    return found


async def test_no_history_contains_a_secret(story):
    histories = await every_history(story)
    demanded = {
        name: content
        for name, content in histories.items()
        if not name.startswith(LIVENESS_WORKFLOW_ID)  # The schedule has started it since.
    }
    # 6 provisions; 6 good swaps, 2 bad ones and their rollbacks; 2 rollouts; the undo with 6 swaps.
    # Their waves are small, so they run in the rollouts' workflows.
    assert len(demanded) == 6 + 6 + 2 + 2 + 2 + 1 + 6
    # The bytes are searchable: each history contains its route or its release.
    for name, content in demanded.items():
        assert re.search(rb"east-|west-|v0\.0\.7", content), name
    for what, secret in secrets_of(story).items():
        assert len(secret) >= 16, what
        for name, content in histories.items():
            assert secret not in content, f"{what} is in {name}"


async def test_no_log_and_no_database_contains_a_secret(story):
    files = [*(story.home / "logs").iterdir(), *story.home.glob("fleet.db*")]
    files += list(story.home.glob("temporal.db*"))
    contents = {file: await asyncio.to_thread(file.read_bytes) for file in files}
    assert any(b"east-1" in content for content in contents.values())
    for what, secret in secrets_of(story).items():
        for file, content in contents.items():
            assert secret not in content, f"{what} is in {file.name}"


def test_only_the_owner_can_read_the_secrets(story):
    for name in ("ssh_client_key", "host_key_secret", "service_secrets", "env"):
        assert (story.home / name).stat().st_mode & 0o077 == 0, name
    assert story.home.stat().st_mode & 0o077 == 0
