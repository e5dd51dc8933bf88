"""A signed apt repository, made by Debian's own tools, and served over HTTP."""

import gzip
import hashlib
import lzma
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import unquote

from tests.support.debs import build_deb
from tests.support.trickle import trickle

PACKAGE = "lantern-box"
SUITE = "stable"
COMPONENT = "main"

_PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".xz": lzma.compress,
}


def _run(*argv: str | Path, cwd: Path | None = None, stdin: bytes | None = None) -> bytes:
    ended = subprocess.run(argv, cwd=cwd, input=stdin, capture_output=True, check=False)
    assert ended.returncode == 0, ended.stderr.decode()
    return ended.stdout


class KeyRing:
    """Keys that repositories are signed with, in a GnuPG home of its own."""

    def __init__(self, home: Path) -> None:
        self._home = home

    def make(self, name: str, algorithm: str = "ed25519", expires: str = "never") -> str:
        """Make a key, and return the user id to call it by."""
        user = f"{name}@example.org"
        self._gpg("--passphrase", "", "--quick-gen-key", user, algorithm, "sign", expires)
        return user

    def make_expired(self, name: str) -> str:
        """Make a key that was valid for a day, long ago: it signs at that time only."""
        return self._make_at("20200101T000000", name, "1d")

    def make_of_the_future(self, name: str) -> str:
        """Make a key that is valid from 2050 on: it signs from then on only."""
        return self._make_at("20500101T000000", name, "never")

    def _make_at(self, time: str, name: str, expires: str) -> str:
        user, then = f"{name}@example.org", ("--faked-system-time", time)
        self._gpg(*then, "--passphrase", "", "--quick-gen-key", user, "ed25519", "sign", expires)
        return user

    def public(self, user: str, *, armoured: bool = False) -> bytes:
        return self._gpg("--export", *(["--armor"] if armoured else []), user)

    def fingerprint(self, user: str) -> str:
        lines = self._gpg("--list-keys", "--with-colons", user).decode().splitlines()
        return next(line.split(":")[9] for line in lines if line.startswith("fpr:"))

    def private(self, user: str) -> bytes:
        return self._gpg("--export-secret-keys", "--armor", user)

    def sign(self, text: bytes, users: Sequence[str], *options: str) -> bytes:
        who = [part for user in users for part in ("--local-user", user)]
        return self._gpg(*options, *who, "--clearsign", stdin=text)

    def content(self, signed: bytes) -> bytes:
        """Return what was signed."""
        return self._gpg("--decrypt", stdin=signed)

    def shown(self, keys: bytes) -> list[str]:
        """Return the user ids of the keys in a file, in its order."""
        lines = self._gpg("--show-keys", "--with-colons", stdin=keys).decode().splitlines()
        return [line.split(":")[9] for line in lines if line.startswith("uid:")]

    def unsigned(self, text: bytes) -> bytes:
        """Return an OpenPGP message that nobody signed."""
        return self._gpg("--armor", "--store", stdin=text)

    def close(self) -> None:
        _run("gpgconf", "--homedir", self._home, "--kill", "all")

    def _gpg(self, *argv: str, stdin: bytes | None = None) -> bytes:
        return _run("gpg", "--homedir", self._home, "--quiet", "--batch", *argv, stdin=stdin)


@contextmanager
def key_ring() -> Iterator[KeyRing]:
    # A short path: the agent's socket lies in it, and a socket's path has an end at 108 bytes.
    with TemporaryDirectory(prefix="gpg-") as home:
        keys = KeyRing(Path(home))
        try:
            yield keys
        finally:
            keys.close()


@dataclass
class Repository:
    """A repository in a folder. `publish` makes an index of what was added, and signs it."""

    root: Path
    architectures: tuple[str, ...] = ("amd64", "arm64")

    @property
    def suite(self) -> Path:
        return self.root / "dists" / SUITE

    @property
    def signed(self) -> Path:
        return self.suite / "InRelease"

    def index(self, architecture: str, ending: str = "") -> Path:
        return self.suite / COMPONENT / f"binary-{architecture}" / f"Packages{ending}"

    def add(
        self,
        version: str,
        architecture: str = "amd64",
        package: str = PACKAGE,
        depends: str = "",
        files: Mapping[str, str] | None = None,
        fields: Mapping[str, str] | None = None,
    ) -> Path:
        """Build a package of these files by their paths, and of its own description.

        Args:
            fields: further fields of its control file, as `Source`.
        """
        name = f"{package}_{version.partition(':')[2] or version}_{architecture}"
        pool = self.root / "pool" / COMPONENT
        pool.mkdir(parents=True, exist_ok=True)
        build_deb(
            pool / f"{name}.deb",
            package,
            version,
            architecture,
            depends=depends,
            files=files,
            fields=fields,
        )
        return pool / f"{name}.deb"

    def withdraw(self, version: str) -> None:
        """Take a version's packages out; the next index does not have them."""
        for deb in (self.root / "pool").rglob(f"*_{version}_*.deb"):
            deb.unlink()

    def publish(
        self,
        sign: Callable[[bytes], bytes],
        *,
        by_hash: bool = False,
        endings: Sequence[str] = ("", ".gz", ".xz"),
        date: datetime | None = None,
        valid_until: datetime | None = None,
    ) -> None:
        for architecture in self.architectures:
            self._write_index(architecture, endings, by_hash=by_hash)
        fields = {
            "Suite": SUITE,
            "Codename": SUITE,
            "Components": COMPONENT,
            "Architectures": " ".join(self.architectures),
        }
        fields |= {"Acquire-By-Hash": "true"} if by_hash else {}
        fields |= {"Date": _rfc822(date)} if date else {}
        options = [
            part
            for name, value in fields.items()
            for part in ("-o", f"APT::FTPArchive::Release::{name}={value}")
        ]
        self.signed.unlink(missing_ok=True)
        unsigned = _run("apt-ftparchive", *options, "release", self.suite)
        if valid_until:  # apt-ftparchive knows it as so many seconds from now alone
            unsigned = f"Valid-Until: {_rfc822(valid_until)}\n".encode() + unsigned
        self.signed.write_bytes(sign(unsigned))

    def copy(self, root: Path) -> "Repository":
        shutil.copytree(self.root, root)
        return Repository(root, self.architectures)

    def _write_index(self, architecture: str, endings: Sequence[str], *, by_hash: bool) -> None:
        pool = Path("pool", COMPONENT)
        packages = _run("apt-ftparchive", "--arch", architecture, "packages", pool, cwd=self.root)
        folder = self.index(architecture).parent
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "by-hash" / "SHA256").mkdir(parents=True)
        for ending in endings:
            content = _PACKERS[ending](packages)
            self.index(architecture, ending).write_bytes(content)
            if by_hash:
                digest = hashlib.sha256(content).hexdigest()
                (folder / "by-hash" / "SHA256" / digest).write_bytes(content)


def _rfc822(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%a, %d %b %Y %H:%M:%S} UTC"


@dataclass
class Served:
    """A folder served over HTTP.

    Attributes:
        root: the folder; it may be another one from one moment to the next.
        requests: the path of each request that came.
        answers: by path, an answer in place of the file's: a status and a body.
        trickled: the ends of paths whose answers come byte by byte.
        login: the header `Authorization` that each request needs; empty if none.
        logins: that header of each request that came.
        gate: no answer is given before this is set.
        stopped: set once the server ends.
    """

    url: str
    root: Path
    requests: list[str] = field(default_factory=list)
    answers: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    trickled: tuple[str, ...] = ()
    login: str = ""
    logins: list[str | None] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)
    stopped: threading.Event = field(default_factory=threading.Event)

    def count(self, ending: str) -> int:
        return sum(path.endswith(ending) for path in self.requests)


@contextmanager
def serve(root: Path, host: str = "127.0.0.1") -> Iterator[Served]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = unquote(self.path)
            served.requests.append(path)
            served.gate.wait()
            served.logins.append(self.headers.get("Authorization"))
            status, body = served.answers.get(path) or _file(served.root, path)
            if served.login and served.logins[-1] != served.login:
                status, body = 401, b""
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            if status == 401:
                self.send_header("WWW-Authenticate", 'Basic realm="packages"')
            if status in {301, 302}:
                self.send_header("Location", body.decode())
            # Whoever has seen enough, or was told to stop, hangs up.
            with suppress(ConnectionError):
                self.end_headers()
                if path.endswith(served.trickled):
                    trickle(body, self.wfile, served.stopped)
                else:
                    self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Be quiet."""

    with ThreadingHTTPServer((host, 0), Handler) as server:
        served = Served(f"http://{host}:{server.server_port}", root)
        served.gate.set()
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield served
        finally:
            served.gate.set()
            served.stopped.set()
            server.shutdown()
            thread.join()


def _file(root: Path, path: str) -> tuple[int, bytes]:
    file = root / os.path.normpath(path).lstrip("/")
    return (200, file.read_bytes()) if file.is_file() else (404, b"")
