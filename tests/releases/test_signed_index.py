"""Which signed indexes are accepted: by their key, its strength, their digest and their dates."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from relight.releases.apt_repository import AptRepository
from relight.releases.errors import RepositoryError, RepositoryUntrustedError
from relight.store.store import open_upgraded_store
from tests.releases.conftest import MakeSource, Sign
from tests.support.apt_repository import KeyRing, Repository, Served

pytestmark = pytest.mark.attack("a repository that is old, torn or badly signed")


async def refusal(source: AptRepository, kind: type[RepositoryError]) -> str:
    with pytest.raises(kind) as caught:
        await source.resolve("v0.0.74", ["amd64"])
    assert type(caught.value) is kind
    return str(caught.value)


async def accepted(source: AptRepository) -> None:
    assert (await source.resolve("v0.0.74", ["amd64"])).version == "0.0.74"


@pytest.fixture
def signed_by(
    make_source: MakeSource, repository: Repository, keys: KeyRing, tmp_path: Path
) -> Callable[..., AptRepository]:
    """Publish with a new key of an algorithm; return the source that has just this key."""

    def sign(algorithm: str, *options: str) -> AptRepository:
        user = keys.make(f"signer-{algorithm}-{'-'.join(options)}".replace("--", ""), algorithm)
        repository.publish(lambda text: keys.sign(text, [user], *options))
        file = tmp_path / "signer.gpg"
        file.write_bytes(keys.public(user))
        return make_source(signing_key=file)

    return sign


# ---------------------------------------------------------------- algorithms


@pytest.mark.parametrize("algorithm", ["ed25519", "nistp256", "rsa2048"])
async def test_a_strong_key_is_accepted(
    signed_by: Callable[..., AptRepository], algorithm: str
) -> None:
    await accepted(signed_by(algorithm))


@pytest.mark.parametrize("digest", ["MD5", "SHA1", "RIPEMD160"])
async def test_a_weak_digest_is_refused(
    signed_by: Callable[..., AptRepository], digest: str
) -> None:
    source = signed_by("rsa2048", "--digest-algo", digest, "--allow-weak-digest-algos")
    assert "not considered secure" in await refusal(source, RepositoryUntrustedError)


@pytest.mark.parametrize("algorithm", ["rsa1024", "dsa1024", "dsa2048"])
async def test_a_weak_key_is_refused(
    signed_by: Callable[..., AptRepository], algorithm: str
) -> None:
    assert "too weak" in await refusal(signed_by(algorithm), RepositoryError)


# ---------------------------------------------------------------- one key


@pytest.fixture
def ring(keys: KeyRing, key: str, other_key: str, tmp_path: Path) -> Path:
    file = tmp_path / "ring.gpg"
    file.write_bytes(keys.public(key) + keys.public(other_key))
    return file


async def test_a_file_with_several_keys_needs_a_fingerprint(
    make_source: MakeSource, ring: Path, keys: KeyRing, key: str, other_key: str
) -> None:
    text = await refusal(make_source(signing_key=ring), RepositoryError)
    assert "RELIGHT_REPOSITORY__SIGNING_KEY_FINGERPRINT" in text
    assert keys.fingerprint(key) in text
    assert keys.fingerprint(other_key) in text


async def test_only_the_key_of_the_fingerprint_counts(
    make_source: MakeSource,
    repository: Repository,
    ring: Path,
    keys: KeyRing,
    key: str,
    other_key: str,
) -> None:
    spaced = " ".join(keys.fingerprint(key)[at : at + 4] for at in range(0, 40, 4)).lower()
    await accepted(make_source(signing_key=ring, fingerprint=spaced))
    repository.publish(lambda text: keys.sign(text, [other_key]))
    source = make_source(signing_key=ring, fingerprint=keys.fingerprint(key))
    assert "signed by another key" in await refusal(source, RepositoryUntrustedError)


async def test_a_fingerprint_that_the_file_does_not_have_is_refused(
    make_source: MakeSource, ring: Path
) -> None:
    text = await refusal(make_source(signing_key=ring, fingerprint="A" * 40), RepositoryError)
    assert "has no key AAAA" in text


async def test_an_index_that_a_further_key_signed_too_is_accepted(
    source: AptRepository, repository: Repository, keys: KeyRing, key: str, other_key: str
) -> None:
    """As while a repository changes its key."""
    repository.publish(lambda text: keys.sign(text, [other_key, key]))
    await accepted(source)


# ---------------------------------------------------------------- age


async def test_an_index_without_an_end_is_accepted_up_to_an_age(
    make_source: MakeSource, repository: Repository, sign: Sign
) -> None:
    repository.publish(sign, date=datetime.now(UTC) - timedelta(days=10))
    await accepted(make_source(max_age=timedelta(days=11)))
    source = make_source(max_age=timedelta(days=9))
    text = await refusal(source, RepositoryUntrustedError)
    assert "RELIGHT_REPOSITORY__MAX_AGE" in text


async def test_an_index_with_an_end_is_accepted_until_then(
    make_source: MakeSource, repository: Repository, sign: Sign
) -> None:
    now = datetime.now(UTC)
    repository.publish(sign, date=now - timedelta(days=10), valid_until=now + timedelta(days=1))
    await accepted(make_source(max_age=timedelta(days=9)))


# ---------------------------------------------------------------- an older index


@pytest.fixture
def store_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'fleet.db'}"


NOW = datetime.now(UTC).replace(microsecond=0)
OLD, NEW = NOW - timedelta(hours=2), NOW - timedelta(hours=1)


async def test_an_older_index_is_refused_also_after_a_restart(
    make_source: MakeSource, repository: Repository, sign: Sign, store_url: str
) -> None:
    repository.publish(sign, date=OLD)
    replayed = repository.signed.read_bytes()
    indexes = {path: path.read_bytes() for path in repository.suite.rglob("Packages*")}
    with open_upgraded_store(store_url) as store:
        await accepted(make_source(seen=store.repository_indexes))
        repository.add("0.0.77", "amd64")
        repository.publish(sign, date=NEW)
        source = make_source(seen=store.repository_indexes)
        assert (await source.resolve("v0.0.77", ["amd64"])).version == "0.0.77"
        repository.signed.write_bytes(replayed)
        for path, content in indexes.items():
            path.write_bytes(content)
        text = await refusal(source, RepositoryUntrustedError)
        assert "relight release accept-older" in text
        assert f"{OLD:%Y-%m-%d %H:%M:%S}" in text
        assert f"{NEW:%Y-%m-%d %H:%M:%S}" in text
    with open_upgraded_store(store_url) as store:  # another process, with nothing in memory
        await refusal(make_source(seen=store.repository_indexes), RepositoryUntrustedError)


async def test_what_one_worker_has_seen_holds_for_another_that_knows_the_older_index(
    make_source: MakeSource, repository: Repository, sign: Sign, served: Served, store_url: str
) -> None:
    with open_upgraded_store(store_url) as store:
        repository.publish(sign, date=OLD)
        behind = make_source(seen=store.repository_indexes)
        await accepted(behind)
        old = repository.signed.read_bytes()
        repository.publish(sign, date=NEW)
        await accepted(make_source(seen=store.repository_indexes))
        repository.signed.write_bytes(old)
        await refusal(behind, RepositoryUntrustedError)


async def test_another_suite_has_its_own_newest_index(
    make_source: MakeSource, repository: Repository, sign: Sign, store_url: str
) -> None:
    with open_upgraded_store(store_url) as store:
        store.repository_indexes.record("https://other.example stable main", NOW)
        repository.publish(sign, date=OLD)
        await accepted(make_source(seen=store.repository_indexes))


async def test_an_index_that_is_not_trusted_is_not_remembered(
    make_source: MakeSource,
    repository: Repository,
    sign: Sign,
    keys: KeyRing,
    other_key: str,
    store_url: str,
) -> None:
    with open_upgraded_store(store_url) as store:
        repository.publish(lambda text: keys.sign(text, [other_key]), date=NEW)
        await refusal(make_source(seen=store.repository_indexes), RepositoryUntrustedError)
        repository.publish(sign, date=OLD)
        await accepted(make_source(seen=store.repository_indexes))
