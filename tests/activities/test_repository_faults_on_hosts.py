"""What befalls the repository as a real machine sees it: nothing is installed, all is said."""

import re
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.support.apt_repository import Repository, key_ring
from tests.support.faulty_host import (
    NEW,
    OLD,
    FaultyHost,
    faulty_host,
)
from tests.support.lab import Lab

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
async def machine(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[FaultyHost]:
    folder = tmp_path_factory.mktemp("repository")
    async with faulty_host(lab, f"repository-{uuid.uuid4().hex[:6]}-g1", folder) as made:
        yield made


@pytest.fixture
async def host(machine: FaultyHost) -> FaultyHost:
    await machine.settle(OLD)
    return machine


@pytest.fixture
def other(machine: FaultyHost, tmp_path: Path) -> Repository:
    """A copy of the repository, to be published anew, or broken."""
    return machine.good.copy(tmp_path / "other")


async def refused(host: FaultyHost, kind: str, words: str) -> None:
    """Fail to install, with this fault; the host and its old process are as they were."""
    pid = host.main_pid()
    fault = await host.apt_fault()
    assert fault.kind == kind
    assert re.search(words, fault.summary), fault.summary
    await host.stays(OLD, pid)


async def installs_then(host: FaultyHost) -> None:
    """Succeed where the fault is lifted."""
    await host.swap()
    assert host.package() == f"ii {NEW}"


async def test_a_repository_that_is_down_is_reported(host: FaultyHost) -> None:
    with host.rules("reject with tcp reset"):
        await refused(host, "repository-unreachable", "Connection refused")
    await installs_then(host)


async def test_a_repository_that_swallows_all_is_given_up_in_seconds(host: FaultyHost) -> None:
    with host.rules("drop"):
        await refused(host, "repository-unreachable", "connection timed out")
    await installs_then(host)


async def test_a_repository_that_answers_with_errors_is_reported(host: FaultyHost) -> None:
    with host.answering("dists/stable/InRelease", 503, b"maintenance"):
        await refused(host, "repository-unreachable", "503")
    await installs_then(host)


async def test_an_expired_release_is_not_trusted(host: FaultyHost, other: Repository) -> None:
    other.publish(host.sign, valid_until=datetime.now(UTC) - timedelta(hours=1))
    with host.serving(other):
        await refused(host, "repository-untrusted", "is expired")
    await installs_then(host)


async def test_a_release_from_the_future_tells_of_a_clock_that_is_behind(
    host: FaultyHost, other: Repository
) -> None:
    other.publish(host.sign, date=datetime.now(UTC) + timedelta(days=1))
    with host.serving(other):
        await refused(host, "clock-behind", "is not valid yet")
    await installs_then(host)


async def test_a_release_that_somebody_else_signed_is_not_trusted(
    host: FaultyHost, other: Repository
) -> None:
    with key_ring() as keys:
        stranger = keys.make("stranger")
        other.publish(lambda text: keys.sign(text, [stranger]))
    with host.serving(other):
        await refused(host, "repository-untrusted", "NO_PUBKEY")
    await installs_then(host)


async def test_a_release_that_was_changed_after_it_was_signed_is_not_trusted(
    host: FaultyHost, other: Repository
) -> None:
    other.publish(host.sign)
    other.signed.write_bytes(other.signed.read_bytes().replace(b"Suite: stable", b"Suite: stablE"))
    with host.serving(other):
        await refused(host, "repository-untrusted", "BADSIG")
    await installs_then(host)


async def test_a_release_that_nobody_signed_is_not_trusted(
    host: FaultyHost, other: Repository
) -> None:
    other.publish(lambda text: text)
    with host.serving(other):
        await refused(host, "repository-untrusted", "isn't valid|not signed")
    await installs_then(host)


async def test_an_index_that_does_not_fit_its_release_is_inconsistent(
    host: FaultyHost, other: Repository
) -> None:
    (other.root / host.deb("0.0.70")).unlink()  # an index like the last one is not fetched
    other.publish(host.sign, date=datetime.now(UTC), endings=("",))
    index = other.index(*other.architectures)
    index.write_bytes(index.read_bytes() + b"\n")
    with host.serving(other):
        await refused(host, "repository-inconsistent", "unexpected size|Hash Sum mismatch")
    await installs_then(host)


@pytest.mark.parametrize("by_hash", [False, True], ids=["by name", "by hash"])
async def test_a_mirror_in_the_middle_of_its_sync_is_inconsistent_until_it_ends(
    host: FaultyHost, other: Repository, by_hash: bool
) -> None:
    """Its InRelease is of today, its indexes are of yesterday."""
    yesterday, today = datetime.now(UTC) - timedelta(days=1), datetime.now(UTC)
    (other.root / host.deb("0.0.70")).unlink()  # an index like the last one is not fetched
    other.publish(host.sign, date=today, by_hash=by_hash)
    host.good.publish(host.sign, date=yesterday, by_hash=by_hash)
    host.sh("rm -rf /var/lib/apt/lists/*stable_*")
    in_release = str(other.signed.relative_to(other.root))
    with host.answering(in_release, 200, other.signed.read_bytes()):
        await refused(host, "repository-inconsistent", "Mirror sync in progress|404  Not Found")
    with host.serving(other):
        await installs_then(host)
    host.good.publish(host.sign, date=datetime.now(UTC))


async def test_a_package_that_is_damaged_in_the_pool_is_inconsistent(host: FaultyHost) -> None:
    path = host.deb(NEW)
    content = bytearray((host.good.root / path).read_bytes())
    content[-1] ^= 1
    with host.answering(path, 200, bytes(content)):
        await refused(host, "repository-inconsistent", "Hash Sum mismatch")
    await installs_then(host)


async def test_a_package_that_is_gone_from_the_pool_is_inconsistent(host: FaultyHost) -> None:
    with host.answering(host.deb(NEW), 404, b""):
        await refused(host, "repository-inconsistent", "404")
    await installs_then(host)


async def test_a_version_that_a_mirror_lacks_is_not_listed_until_it_is_there(
    host: FaultyHost, other: Repository
) -> None:
    (other.root / host.deb(NEW)).unlink()
    other.publish(host.sign, date=datetime.now(UTC))
    with host.serving(other):
        await refused(host, "version-not-listed", f"'{NEW}' for 'lantern-box' was not found")
    host.good.publish(host.sign, date=datetime.now(UTC))
    await installs_then(host)
