"""A signed apt repository, as release automation publishes it.

Packages and indexes by hash are written first, InRelease last, each by a rename. A client that
reads meanwhile sees the old state or the new one, never a mixture.
"""

import gzip
import hashlib
import shutil
import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from lab.commands import run
from lab.errors import LabError

SUITE = "stable"
COMPONENT = "main"
_VALID_FOR = timedelta(days=30)
_AGENT_ENDS_WITHIN = timedelta(seconds=30)
_SIGNER = "The lab's repository <lab@localhost>"

# A path of a Unix socket has at most 107 characters, and gpg-agent has sockets in this folder. It
# does not start if one of them has just that length.
_MAX_AGENT_FOLDER_LENGTH = 106 - len("/S.gpg-agent.browser")


@dataclass(frozen=True)
class SigningKey:
    """A key that signs the repository.

    Attributes:
        folder: the GnuPG home folder with the secret key.
        public: the file with the public key, ASCII-armoured.
    """

    folder: Path
    public: Path

    def gpg(self, *arguments: str | Path) -> str:
        """Run gpg with this key and return its output; gpg-agent has ended afterwards.

        Raises:
            LabError: gpg failed, or the agent does not end.
        """
        env = {"GNUPGHOME": str(self.folder)}
        try:
            return run("gpg", "--batch", "--yes", "--quiet", *arguments, env=env)
        finally:
            run("gpgconf", "--kill", "all", env=env)
            self._await_end_of_agent()

    def _await_end_of_agent(self) -> None:
        """Wait until the stopped agent has gone: the next gpg would ask it, and get no answer."""
        ends = time.monotonic() + _AGENT_ENDS_WITHIN.total_seconds()
        while (self.folder / "S.gpg-agent").exists():
            if time.monotonic() > ends:
                raise LabError(f"gpg-agent in {self.folder} does not end")
            time.sleep(0.01)


def make_signing_key(folder: Path, public: Path) -> SigningKey:
    """Create a new key.

    Raises:
        LabError: the folder's path is too long for gpg, or gpg failed.
    """
    if len(str(folder)) > _MAX_AGENT_FOLDER_LENGTH:
        raise LabError(f"this path is too long for a GnuPG home folder: {folder}")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700, parents=True)
    key = SigningKey(folder, public)
    key.gpg("--passphrase", "", "--quick-generate-key", _SIGNER, "ed25519", "sign", "never")
    key.gpg("--armor", "--output", public, "--export")
    return key


def publish(root: Path, debs: Path, key: SigningKey, architecture: str) -> None:
    """Publish all .deb files of a folder in the repository at `root`.

    Raises:
        CommandError: apt-ftparchive or gpg failed.
    """
    for deb in sorted(debs.glob("*.deb")):
        package = deb.name.partition("_")[0]
        _put(root / "pool" / COMPONENT / package[0] / package / deb.name, deb.read_bytes())
    suite = root / "dists" / SUITE
    index = f"{COMPONENT}/binary-{architecture}/Packages"
    packages = run("apt-ftparchive", "--arch", architecture, "packages", "pool", cwd=root).encode()
    for text, name in ((packages, index), (gzip.compress(packages, mtime=0), f"{index}.gz")):
        digest = hashlib.sha256(text).hexdigest()
        _put((suite / name).parent / "by-hash/SHA256" / digest, text)
        _put(suite / name, text)
    release = _release(suite, architecture)
    staged = suite / ".Release"
    staged.write_text(release)
    _sign(key, staged, suite / "Release.gpg", "--armor", "--detach-sign")
    staged.rename(suite / "Release")
    _sign(key, suite / "Release", suite / "InRelease", "--clear-sign")


def _release(suite: Path, architecture: str) -> str:
    fields = {
        "Origin": "Lantern",
        "Label": "Lantern",
        "Suite": SUITE,
        "Codename": SUITE,
        "Architectures": architecture,
        "Components": COMPONENT,
        "Acquire-By-Hash": "yes",
        "ValidTime": f"{_VALID_FOR.total_seconds():.0f}",
    }
    options = [f"-oAPT::FTPArchive::Release::{name}={text}" for name, text in fields.items()]
    options += [f"-oAPT::FTPArchive::{weak}=false" for weak in ("MD5", "SHA1", "SHA512")]
    # The default patterns would also list the old Release file.
    patterns = ["Default-Patterns=false", "Patterns::=Packages", "Patterns::=Packages.*"]
    options += [f"-oAPT::FTPArchive::Release::{pattern}" for pattern in patterns]
    return run("apt-ftparchive", *options, "release", suite)


def _sign(key: SigningKey, text: Path, signed: Path, *options: str) -> None:
    staged = signed.with_name(f".{signed.name}")
    key.gpg("--digest-algo", "SHA512", *options, "--output", staged, text)
    staged.rename(signed)


def _put(path: Path, content: bytes) -> None:
    if path.exists() and path.read_bytes() == content:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.with_name(f".{path.name}.new")
    staged.write_bytes(content)
    staged.replace(path)
