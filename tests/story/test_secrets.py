"""No secret leaves the place where it is used: histories, store and logs are searched for each."""

import asyncio
import base64
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from relight.hosts.keys import derive_host_key, load_secret
from starter.local.lab import addresses_of
from tests.story.conftest import Story

pytestmark = pytest.mark.lab

LONGEST_CHUNK = 32


def secrets_of(story: Story) -> dict[str, bytes]:
    """Return the bytes of each secret that the story has, by what it is."""
    lab = addresses_of(story.home)
    assert lab is not None
    secret = load_secret(story.home / "host_key_secret")
    found = {
        "the host key secret, raw": secret,
        "the host key secret, in hexadecimal": secret.hex().encode(),
        "the lab's token": lab.token_file.read_bytes().strip(),
        "the daemon's secret": _service_secret(story.home),
    }
    keys = {"the client key": (story.home / "ssh_client_key").read_text()}
    for route_id in ("east-1", "east-2", "east-3", "west-1", "west-2", "west-3"):
        keys[f"{route_id}'s host key"] = derive_host_key(secret, f"{route_id}-g1").private
    for name, pem in keys.items():
        for number, chunk in enumerate(_private_chunks(pem)):
            found[f"{name}, part {number}"] = chunk
    # As they would stand in rendered user-data.
    return found | {
        f"{name}, in base64": base64.b64encode(value)[4:-4] for name, value in found.items()
    }


def _service_secret(home: Path) -> bytes:
    return (home / "daemon_secrets").read_bytes().strip().partition(b"=")[2]


def _private_chunks(pem: str) -> Iterator[bytes]:
    """Yield what is private of a key in OpenSSH's form: its seed stands after the public part."""
    body = "".join(pem.splitlines()[1:-1])
    # The first half tells what kind of key it is, and the public key, which anyone may see.
    private = body[len(body) // 2 :]
    for start in range(0, len(private) - LONGEST_CHUNK, LONGEST_CHUNK):
        yield private[start : start + LONGEST_CHUNK].encode()


async def every_history(story: Story) -> dict[str, bytes]:
    """Export every history of the run: payloads stand in it as the bytes that they are."""
    found = {}
    async for execution in story.client.list_workflows():
        handle = story.client.get_workflow_handle(execution.id, run_id=execution.run_id)
        history = await handle.fetch_history()
        events = b"".join(event.SerializeToString() for event in history.events)
        found[f"{execution.id} {execution.run_id}"] = events
    return found


async def test_no_history_holds_a_secret(story):
    histories = await every_history(story)
    # Provisioned; swapped; swapped badly; two rollouts, of two waves and of one.
    assert len(histories) == 6 + 6 + 2 + 2 + 2 + 1
    # The search finds what is there: each history names its route or its release.
    for name, content in histories.items():
        assert re.search(rb"east-|west-|v0\.0\.7", content), name
    for what, secret in secrets_of(story).items():
        assert len(secret) >= 16, what
        for name, content in histories.items():
            assert secret not in content, f"{what} stands in {name}"


async def test_no_log_and_no_row_of_the_store_holds_a_secret(story):
    files = [*(story.home / "logs").iterdir(), *story.home.glob("fleet.db*")]
    files += list(story.home.glob("temporal.db*"))
    contents = {file: await asyncio.to_thread(file.read_bytes) for file in files}
    assert any(b"east-1" in content for content in contents.values())
    for what, secret in secrets_of(story).items():
        for file, content in contents.items():
            assert secret not in content, f"{what} stands in {file.name}"


def test_secrets_are_readable_by_their_owner_alone(story):
    for name in ("ssh_client_key", "host_key_secret", "daemon_secrets", "env"):
        assert (story.home / name).stat().st_mode & 0o077 == 0, name
    assert story.home.stat().st_mode & 0o077 == 0
