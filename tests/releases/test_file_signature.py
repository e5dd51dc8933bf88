"""Signed releases on GitHub: lists of checksums and packages, by minisign and by cosign."""

import base64
import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from relight.domain.release import Release
from relight.releases.errors import RepositoryError, RepositoryUntrustedError
from relight.releases.file_signature import read_file_key
from relight.releases.github_releases import GitHubReleases
from tests.support.debs import deb
from tests.support.fake_github import REPOSITORY, FakeGitHub, fake_github

NAME = "lantern-box_1.2.0.rc.1_linux_amd64.deb"
CONTENT = deb("lantern-box", "1.2.0~rc.1", "amd64", "xz")
CHECKSUMS = f"{hashlib.sha256(CONTENT).hexdigest()}  {NAME.replace('0.rc', '0~rc')}\n".encode()

Sign = Callable[[bytes], tuple[str, bytes]]


class Minisign:
    """Signs as minisign does: Ed25519 over BLAKE2b, and over the trusted comment."""

    def __init__(self, key_id: bytes = b"relight!") -> None:
        self.key, self.id = Ed25519PrivateKey.generate(), key_id

    def write_public(self, file: Path) -> None:
        raw = self.key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        text = base64.b64encode(b"Ed" + self.id + raw).decode()
        file.write_text(f"untrusted comment: minisign public key\n{text}\n")

    def sign(self, content: bytes) -> tuple[str, bytes]:
        own = self.key.sign(hashlib.blake2b(content).digest())
        comment = b"timestamp:1\tfile:a"
        lines = (
            b"untrusted comment: signature",
            base64.b64encode(b"ED" + self.id + own),
            b"trusted comment: " + comment,
            base64.b64encode(self.key.sign(own + comment)),
        )
        return ".minisig", b"\n".join(lines) + b"\n"


class Cosign:
    """Signs as `cosign sign-blob --key` does: ECDSA over SHA-256."""

    def __init__(self, form: str = "plain") -> None:
        self.key, self.form = ec.generate_private_key(ec.SECP256R1()), form

    def write_public(self, file: Path) -> None:
        public = self.key.public_key()
        file.write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))

    def sign(self, content: bytes) -> tuple[str, bytes]:
        text = base64.b64encode(self.key.sign(content, ec.ECDSA(SHA256()))).decode()
        if self.form == "plain":
            return ".sig", text.encode()
        if self.form == "old bundle":
            return ".bundle", json.dumps({"base64Signature": text, "cert": ""}).encode()
        return ".sigstore.json", json.dumps({"messageSignature": {"signature": text}}).encode()


SIGNERS: dict[str, Callable[[], Minisign | Cosign]] = {
    "minisign": Minisign,
    "cosign": Cosign,
    "cosign, new bundle": lambda: Cosign("bundle"),
    "cosign, old bundle": lambda: Cosign("old bundle"),
}


@pytest.fixture
def github() -> Iterator[FakeGitHub]:
    with fake_github() as github:
        github.attach(github.release("v1.2.0-rc.1"), NAME, CONTENT)
        yield github


@pytest.fixture(params=SIGNERS)
def signer(request: pytest.FixtureRequest) -> Minisign | Cosign:
    return SIGNERS[request.param]()


async def resolve(github: FakeGitHub, signer: Minisign | Cosign, folder: Path) -> Release:
    signer.write_public(folder / "key.pub")
    source = GitHubReleases(
        repository=REPOSITORY,
        package="lantern-box",
        api_url=github.url,
        key=read_file_key(folder / "key.pub"),
    )
    try:
        return await source.resolve("v1.2.0-rc.1", ["amd64"])
    finally:
        await source.close()


def attach_signed(github: FakeGitHub, name: str, content: bytes, sign: Sign) -> None:
    suffix, signature = sign(content)
    if name != NAME:
        github.attach(github.releases[0], name, content)
    github.attach(github.releases[0], name + suffix, signature)


@pytest.mark.parametrize("digest", [True, False])
@pytest.mark.parametrize("name", ["checksums.txt", "lantern-box_1.2.0_checksums.txt", "SHA256SUMS"])
async def test_a_signed_list_of_checksums_vouches_for_a_package(
    github: FakeGitHub, signer: Minisign | Cosign, tmp_path: Path, name: str, digest: bool
) -> None:
    if not digest:
        github.releases[0]["assets"][0]["digest"] = None
    attach_signed(github, name, CHECKSUMS, signer.sign)
    release = await resolve(github, signer, tmp_path)
    assert release.deb_files[0].sha256 == hashlib.sha256(CONTENT).hexdigest()


async def test_a_package_may_be_signed_itself(
    github: FakeGitHub, signer: Minisign | Cosign, tmp_path: Path
) -> None:
    attach_signed(github, NAME, CONTENT, signer.sign)
    release = await resolve(github, signer, tmp_path)
    assert release.deb_files[0].sha256 == hashlib.sha256(CONTENT).hexdigest()


async def test_an_unsigned_package_is_refused(
    github: FakeGitHub, signer: Minisign | Cosign, tmp_path: Path
) -> None:
    github.attach(github.releases[0], "checksums.txt", CHECKSUMS)
    with pytest.raises(RepositoryUntrustedError, match=f"{NAME} is not signed"):
        await resolve(github, signer, tmp_path)


@pytest.mark.parametrize("name", ["checksums.txt", NAME])
@pytest.mark.parametrize("wrong", ["key", "content", "junk", "empty"])
async def test_a_signature_that_is_not_valid_is_refused(
    github: FakeGitHub, signer: Minisign | Cosign, tmp_path: Path, name: str, wrong: str
) -> None:
    content = CONTENT if name == NAME else CHECKSUMS
    suffix, signature = signer.sign(content)
    if wrong == "key":
        signature = type(signer)().sign(content)[1]
    elif wrong == "content":
        signature = signer.sign(content + b"x")[1]
    else:
        signature = b"junk\n" * 4 if wrong == "junk" else b" "
    attach_signed(github, name, content, lambda _: (suffix, signature))
    with pytest.raises(RepositoryUntrustedError, match="is not valid"):
        await resolve(github, signer, tmp_path)


async def test_a_signed_list_that_differs_from_github_is_refused(
    github: FakeGitHub, signer: Minisign | Cosign, tmp_path: Path
) -> None:
    attach_signed(github, "checksums.txt", f"{'0' * 64}  {NAME}\n".encode(), signer.sign)
    with pytest.raises(RepositoryUntrustedError, match="differs"):
        await resolve(github, signer, tmp_path)


async def test_another_key_of_minisign_and_a_changed_comment_are_refused(
    github: FakeGitHub, tmp_path: Path
) -> None:
    signer = Minisign()
    _, signature = signer.sign(CHECKSUMS)
    changed = signature.replace(b"file:a", b"file:b")
    attach_signed(github, "checksums.txt", CHECKSUMS, lambda _: (".minisig", changed))
    with pytest.raises(RepositoryUntrustedError, match="does not match"):
        await resolve(github, signer, tmp_path)
    signer.id = b"another!"
    with pytest.raises(RepositoryUntrustedError, match="another key"):
        await resolve(github, signer, tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"junk", b"RWQ=", b"-----BEGIN PUBLIC KEY-----\nx\n-----END PUBLIC KEY-----"]
)
def test_a_public_key_that_cannot_be_used_is_an_error(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "key"
    with pytest.raises(RepositoryError, match="cannot be read"):
        read_file_key(file)
    file.write_bytes(content)
    with pytest.raises(RepositoryError, match="neither a public key"):
        read_file_key(file)
