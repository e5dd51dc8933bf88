"""Repository faults on a real host: each is reported, and nothing is installed."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from relight.hosts import host_program
from tests.support.apt_repository import Repository, key_ring
from tests.support.faulty_host import (
    NEW,
    OLD,
    FaultyHost,
)

pytestmark = pytest.mark.lab


@pytest.fixture
def other(host: FaultyHost, tmp_path: Path) -> Repository:
    """A copy of the repository that the test may change."""
    return host.good.copy(tmp_path / "other")


async def assert_refused(host: FaultyHost, kind: str, words: str) -> None:
    """Check that a swap fails with this fault and changes nothing on the host."""
    pid = host.main_pid()
    fault = await host.apt_fault()
    assert fault.kind == kind
    assert re.search(words, fault.summary), fault.summary
    await host.assert_unchanged(OLD, pid)


async def assert_installs(host: FaultyHost) -> None:
    """Check that a swap succeeds without the fault."""
    await host.swap()
    assert host.package() == f"ii {NEW}"


async def test_a_repository_that_is_down_is_reported(host: FaultyHost) -> None:
    with host.rules("reject with tcp reset"):
        await assert_refused(host, "repository-unreachable", "Connection refused")
    await assert_installs(host)


async def test_a_repository_that_drops_packets_is_reported_within_seconds(host: FaultyHost) -> None:
    short_timeout = "s/Acquire::http::Timeout=5/Acquire::http::Timeout=1/"
    host.sh(f"sed -i {short_timeout} {host_program.PROGRAM}")
    with host.rules("drop"):
        await assert_refused(host, "repository-unreachable", "connection timed out")
    await assert_installs(host)


async def test_a_repository_that_answers_with_errors_is_reported(host: FaultyHost) -> None:
    with host.answering("dists/stable/InRelease", 503, b"maintenance"):
        await assert_refused(host, "repository-unreachable", "503")
    await assert_installs(host)


async def test_an_expired_release_file_is_not_trusted(host: FaultyHost, other: Repository) -> None:
    other.publish(host.sign, valid_until=datetime.now(UTC) - timedelta(hours=1))
    with host.serving(other):
        await assert_refused(host, "repository-untrusted", "is expired")
    await assert_installs(host)


async def test_a_release_file_from_the_future_means_that_the_hosts_clock_is_behind(
    host: FaultyHost, other: Repository
) -> None:
    other.publish(host.sign, date=datetime.now(UTC) + timedelta(days=1))
    with host.serving(other):
        await assert_refused(host, "clock-behind", "is not valid yet")
    await assert_installs(host)


async def test_a_release_file_signed_with_another_key_is_not_trusted(
    host: FaultyHost, other: Repository
) -> None:
    with key_ring() as keys:
        stranger = keys.make("stranger")
        other.publish(lambda text: keys.sign(text, [stranger]))
    with host.serving(other):
        await assert_refused(host, "repository-untrusted", "NO_PUBKEY")
    await assert_installs(host)


async def test_a_release_file_that_changed_after_signing_is_not_trusted(
    host: FaultyHost, other: Repository
) -> None:
    other.publish(host.sign)
    other.signed.write_bytes(other.signed.read_bytes().replace(b"Suite: stable", b"Suite: stablE"))
    with host.serving(other):
        await assert_refused(host, "repository-untrusted", "BADSIG")
    await assert_installs(host)


async def test_an_unsigned_release_file_is_not_trusted(host: FaultyHost, other: Repository) -> None:
    other.publish(lambda text: text)
    with host.serving(other):
        await assert_refused(host, "repository-untrusted", "isn't valid|not signed")
    await assert_installs(host)


async def test_an_index_that_differs_from_its_release_file_is_inconsistent(
    host: FaultyHost, other: Repository
) -> None:
    (other.root / host.deb("0.0.70")).unlink()  # apt does not fetch an unchanged index
    other.publish(host.sign, date=datetime.now(UTC), endings=("",))
    index = other.index(*other.architectures)
    index.write_bytes(index.read_bytes() + b"\n")
    with host.serving(other):
        await assert_refused(host, "repository-inconsistent", "unexpected size|Hash Sum mismatch")
    await assert_installs(host)


@pytest.mark.parametrize("by_hash", [False, True], ids=["by name", "by hash"])
async def test_a_mirror_is_inconsistent_during_its_sync(
    host: FaultyHost, other: Repository, by_hash: bool
) -> None:
    """Its InRelease is from today, its indexes are from yesterday."""
    yesterday, today = datetime.now(UTC) - timedelta(days=1), datetime.now(UTC)
    (other.root / host.deb("0.0.70")).unlink()  # apt does not fetch an unchanged index
    other.publish(host.sign, date=today, by_hash=by_hash)
    host.good.publish(host.sign, date=yesterday, by_hash=by_hash)
    host.sh("rm -rf /var/lib/apt/lists/*stable_*")
    in_release = str(other.signed.relative_to(other.root))
    with host.answering(in_release, 200, other.signed.read_bytes()):
        await assert_refused(
            host, "repository-inconsistent", "Mirror sync in progress|404  Not Found"
        )
    with host.serving(other):
        await assert_installs(host)
    host.good.publish(host.sign, date=datetime.now(UTC))


async def test_a_damaged_package_in_the_pool_is_inconsistent(host: FaultyHost) -> None:
    path = host.deb(NEW)
    content = bytearray((host.good.root / path).read_bytes())
    content[-1] ^= 1
    with host.answering(path, 200, bytes(content)):
        await assert_refused(host, "repository-inconsistent", "Hash Sum mismatch")
    await assert_installs(host)


async def test_a_missing_package_in_the_pool_is_inconsistent(host: FaultyHost) -> None:
    with host.answering(host.deb(NEW), 404, b""):
        await assert_refused(host, "repository-inconsistent", "404")
    await assert_installs(host)


async def test_a_version_that_a_mirror_lacks_is_not_listed(
    host: FaultyHost, other: Repository
) -> None:
    (other.root / host.deb(NEW)).unlink()
    other.publish(host.sign, date=datetime.now(UTC))
    with host.serving(other):
        await assert_refused(host, "version-not-listed", f"'{NEW}' for 'lantern-box' was not found")
    host.good.publish(host.sign, date=datetime.now(UTC))
    await assert_installs(host)
