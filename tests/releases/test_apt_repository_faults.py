"""Faults of a real repository."""

import shutil
import socket
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path

import httpx
import pytest

from relight.releases import apt_repository
from relight.releases.apt_repository import AptRepository
from relight.releases.errors import (
    RepositoryError,
    RepositoryUnavailableError,
    RepositoryUntrustedError,
)
from relight.releases.signing_key import read_signing_key
from tests.releases.conftest import MakeSource, Sign
from tests.support.apt_repository import (
    SUITE,
    KeyRing,
    Repository,
    Served,
)

pytestmark = pytest.mark.attack("a repository that is old, torn or badly signed")

IN_RELEASE = f"/dists/{SUITE}/InRelease"


async def unavailable(source: AptRepository) -> str:
    with pytest.raises(RepositoryUnavailableError) as caught:
        await source.resolve("v0.0.74", ["amd64"])
    assert caught.value.retryable
    return str(caught.value)


async def untrusted(source: AptRepository) -> str:
    with pytest.raises(RepositoryUntrustedError) as caught:
        await source.resolve("v0.0.74", ["amd64"])
    assert not caught.value.retryable
    return str(caught.value)


async def refused(source: AptRepository) -> str:
    """Fail with an error that only an operator can fix; return its text."""
    with pytest.raises(RepositoryError) as caught:
        await source.resolve("v0.0.74", ["amd64"])
    assert type(caught.value) is RepositoryError
    return str(caught.value)


async def test_the_port_does_not_listen(make_source: MakeSource) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # without listening
        url = f"http://127.0.0.1:{held.getsockname()[1]}"
        assert url in await unavailable(make_source(url=url))


async def test_the_server_accepts_and_never_answers(make_source: MakeSource) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        async with httpx.AsyncClient(timeout=0.2, trust_env=False) as client:
            assert "no answer in time" in await unavailable(make_source(url=url, client=client))


@pytest.mark.parametrize("status", [404, 403, 429, 500, 503])
async def test_the_signed_index_has_an_error_status(
    source: AptRepository, served: Served, status: int
) -> None:
    served.answers[IN_RELEASE] = (status, b"")
    assert f"{IN_RELEASE}: {status}" in await unavailable(source)


async def test_the_suite_does_not_exist(make_source: MakeSource) -> None:
    assert "/dists/no-such/InRelease: 404" in await unavailable(make_source(suite="no-such"))


async def test_the_component_does_not_exist(make_source: MakeSource) -> None:
    text = await refused(make_source(component="contrib"))
    assert "no component contrib; its components: main" in text


@pytest.mark.parametrize("by_hash", [False, True])
async def test_an_index_is_missing(
    source: AptRepository, repository: Repository, sign: Sign, by_hash: bool
) -> None:
    repository.publish(sign, by_hash=by_hash)
    for file in repository.index("amd64").parent.rglob("*"):
        if file.is_file():
            file.unlink()
    assert "404" in await unavailable(source)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda original: original[::-1], id="same length"),
        pytest.param(lambda original: original + b"x", id="longer"),
        pytest.param(lambda original: original[:-1], id="shorter"),
    ],
)
async def test_an_index_differs_from_its_checksum(
    source: AptRepository, repository: Repository, change: Callable[[bytes], bytes]
) -> None:
    file = repository.index("amd64", ".xz")
    file.write_bytes(change(file.read_bytes()))
    assert "in the middle of being published" in await unavailable(source)


async def test_an_index_is_read_again_after_a_wrong_checksum(
    source: AptRepository, repository: Repository
) -> None:
    file = repository.index("amd64", ".xz")
    original = file.read_bytes()
    file.write_bytes(original[::-1])
    await unavailable(source)
    file.write_bytes(original)
    assert (await source.resolve("v0.0.74", ["amd64"])).version == "0.0.74"


async def test_the_signed_text_was_changed(source: AptRepository, repository: Repository) -> None:
    signed = repository.signed.read_bytes()
    repository.signed.write_bytes(signed.replace(b"Suite: stable", b"Suite: broken"))
    assert "does not match" in await untrusted(source)


async def test_it_is_signed_by_another_key(
    source: AptRepository, repository: Repository, keys: KeyRing, other_key: str
) -> None:
    repository.publish(lambda text: keys.sign(text, [other_key]))
    assert "signed by another key" in await untrusted(source)


async def test_it_is_not_signed(source: AptRepository, repository: Repository) -> None:
    repository.publish(bytes)
    assert "not a signed index" in await untrusted(source)


async def test_a_captive_portal_answers(source: AptRepository, served: Served) -> None:
    served.answers[IN_RELEASE] = (200, b"<html>Please log in</html>")
    assert "not a signed index" in await untrusted(source)


async def test_unsigned_text_before_the_signed_text_is_refused(
    source: AptRepository, repository: Repository
) -> None:
    repository.signed.write_bytes(b"Suite: evil\n\n" + repository.signed.read_bytes())
    assert "not a signed index" in await untrusted(source)


async def test_text_after_the_signed_text_is_ignored(
    source: AptRepository, repository: Repository
) -> None:
    with repository.signed.open("ab") as file:
        file.write(b"\nValid-Until: Thu, 01 Jan 1970 00:00:00 UTC\n")
    assert (await source.resolve("v0.0.74", ["amd64"])).version == "0.0.74"


async def test_two_signed_texts_in_one_file_are_refused(
    source: AptRepository, repository: Repository
) -> None:
    repository.signed.write_bytes(repository.signed.read_bytes() * 2)
    assert "not a signed index" in await untrusted(source)


async def test_an_unsigned_message_after_the_signed_text_is_refused(
    source: AptRepository, repository: Repository, keys: KeyRing
) -> None:
    with repository.signed.open("ab") as file:
        file.write(keys.unsigned(b"Suite: evil\n"))
    assert "not valid" in await untrusted(source)


async def test_the_signature_is_cut_off(source: AptRepository, repository: Repository) -> None:
    signed = repository.signed.read_bytes()
    repository.signed.write_bytes(signed[: signed.index(b"-----BEGIN PGP SIGNATURE")])
    assert "not valid" in await untrusted(source)


async def test_its_digest_is_too_weak(
    make_source: MakeSource, repository: Repository, keys: KeyRing, tmp_path: Path
) -> None:
    rsa = keys.make("rsa", "rsa2048")
    repository.publish(lambda text: keys.sign(text, [rsa], "--digest-algo", "SHA1"))
    file = tmp_path / "rsa.gpg"
    file.write_bytes(keys.public(rsa))
    assert "not valid" in await untrusted(make_source(signing_key=file))


async def test_its_key_has_expired(
    make_source: MakeSource, repository: Repository, keys: KeyRing, tmp_path: Path
) -> None:
    expired = keys.make_expired("expired")
    then = ("--faked-system-time", "20200101T000100")
    repository.publish(lambda text: keys.sign(text, [expired], *then))
    file = tmp_path / "expired.gpg"
    file.write_bytes(keys.public(expired))
    assert "has expired" in await untrusted(make_source(signing_key=file))


async def test_its_key_is_of_the_future(
    make_source: MakeSource, repository: Repository, keys: KeyRing, tmp_path: Path
) -> None:
    """As where our clock is behind: a worker can start, and trusts nothing until it is right."""
    future = keys.make_of_the_future("future")
    then = ("--faked-system-time", "20500101T000100", "--ignore-time-conflict")
    repository.publish(lambda text: keys.sign(text, [future], *then))
    file = tmp_path / "future.gpg"
    file.write_bytes(keys.public(future))
    source = make_source(signing_key=file)
    assert read_signing_key(file).expires_at is None
    assert "not valid" in await untrusted(source)


async def test_it_has_expired(source: AptRepository, repository: Repository, sign: Sign) -> None:
    repository.publish(sign, valid_until=datetime.now(UTC) - timedelta(seconds=2))
    assert "expired at" in await untrusted(source)


async def test_a_cached_index_expires(
    source: AptRepository,
    repository: Repository,
    served: Served,
    sign: Sign,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class TwoHoursLater(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) + timedelta(hours=2)

    repository.publish(sign, valid_until=datetime.now(UTC) + timedelta(hours=1))
    await source.list_releases()
    monkeypatch.setattr(apt_repository, "datetime", TwoHoursLater)
    assert "expired at" in await untrusted(source)
    assert served.count("Packages.xz") == 2


async def test_it_is_dated_in_the_future(
    source: AptRepository, repository: Repository, sign: Sign
) -> None:
    repository.publish(sign, date=datetime.now(UTC) + timedelta(hours=1))
    assert "dated in the future" in await untrusted(source)


@pytest.mark.parametrize("field", ["Date", "SHA256"])
async def test_a_required_field_is_missing(
    source: AptRepository, repository: Repository, sign: Sign, field: str
) -> None:
    def without(text: bytes) -> bytes:
        return sign(text.replace(f"\n{field}:".encode(), f"\nX-{field}:".encode()))

    repository.publish(without)
    assert "lacks" in await untrusted(source)


async def test_its_date_is_malformed(
    source: AptRepository, repository: Repository, sign: Sign
) -> None:
    repository.publish(lambda text: sign(text.replace(b"\nDate: ", b"\nDate: the day before ")))
    assert "is malformed" in await refused(source)


async def test_no_url_is_set(make_source: MakeSource) -> None:
    assert "RELIGHT_REPOSITORY__URL" in await refused(make_source(url=""))


async def test_no_key_is_set(make_source: MakeSource) -> None:
    assert "RELIGHT_REPOSITORY__SIGNING_KEY" in await refused(make_source(signing_key=None))


async def test_the_key_file_does_not_exist(make_source: MakeSource, tmp_path: Path) -> None:
    text = await refused(make_source(signing_key=tmp_path / "no-such"))
    assert "signing key cannot be read" in text
    assert "no-such" in text


@pytest.mark.parametrize("content", [b"", b"no key", b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n"])
async def test_the_key_file_has_no_key(
    make_source: MakeSource, tmp_path: Path, content: bytes
) -> None:
    file = tmp_path / "key.asc"
    file.write_bytes(content)
    assert "is not a public key" in await refused(make_source(signing_key=file))


async def test_the_key_file_has_a_private_key(
    make_source: MakeSource, keys: KeyRing, key: str, tmp_path: Path
) -> None:
    file = tmp_path / "key.asc"
    file.write_bytes(keys.private(key))
    assert "is not a public key" in await refused(make_source(signing_key=file))


async def test_the_armour_of_the_key_is_damaged(
    make_source: MakeSource, keys: KeyRing, key: str, tmp_path: Path
) -> None:
    file = tmp_path / "key.asc"
    file.write_bytes(keys.public(key, armoured=True).replace(b"m", b"!"))
    assert "armour is damaged" in await refused(make_source(signing_key=file))


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/", "127.0.0.1", "http://[::1", "http://\0"])
async def test_the_url_is_invalid(make_source: MakeSource, url: str) -> None:
    await refused(make_source(url=url))


async def test_a_password_in_the_url_is_not_shown(make_source: MakeSource, served: Served) -> None:
    url = served.url.replace("://", "://user:hunter2@")
    release = await make_source(url=url).resolve("v0.0.74", ["amd64"])
    assert "hunter2" not in release.model_dump_json()
    served.answers[IN_RELEASE] = (500, b"")
    assert "hunter2" not in await unavailable(make_source(url=url))


async def test_the_answer_is_too_large(source: AptRepository, served: Served) -> None:
    served.answers[IN_RELEASE] = (200, b"-----BEGIN" * 2**21)
    assert "too large" in await refused(source)


@pytest.mark.parametrize("missing", ["gpg", "sqv"])
async def test_a_needed_program_is_not_installed(
    make_source: MakeSource,
    key_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    missing: str,
) -> None:
    # A key that was read before is not read again.
    own = Path(shutil.copy(key_file, tmp_path / "own.asc"))
    for name in {"gpg", "sqv"} - {missing}:
        (tmp_path / name).symlink_to(f"/usr/bin/{name}")
    monkeypatch.setenv("PATH", str(tmp_path))
    text = await refused(make_source(signing_key=own))
    assert f"install the Debian package {missing}" in text


async def test_the_users_keyring_is_not_used(
    source: AptRepository,
    repository: Repository,
    keys: KeyRing,
    other_key: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    (tmp_path / "trustedkeys.gpg").write_bytes(keys.public(other_key))
    monkeypatch.setenv("GNUPGHOME", str(tmp_path))
    repository.publish(lambda text: keys.sign(text, [other_key]))
    assert "signed by another key" in await untrusted(source)
