"""A PostgreSQL server of the tests' own, on a Unix socket in a temporary folder.

Each pytest process (each worker of pytest-xdist) starts its own, so nothing is shared and no port
is used. Tests that need it are skipped where PostgreSQL is not installed. The server is configured
for speed, not for durability. Its time zone is unusual, so that a time not handled as UTC shows.
"""

import itertools
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest

SERVER_USER = "postgres"

MEMORY = Path("/dev/shm")
MIN_MEMORY_BYTES = 1024**3

SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "autovacuum": "off",
    "shared_buffers": "16MB",
    "max_connections": "100",
    "timezone": "Asia/Kathmandu",
    "log_timezone": "UTC",
}


@dataclass
class PostgresServer:
    """A running server. Each test database is created on request."""

    socket_folder: Path
    process: subprocess.Popen[bytes]
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def url(self, database: str) -> str:
        return f"postgresql://{SERVER_USER}@/{database}?host={self.socket_folder}"

    def create_database(self) -> str:
        """Create an empty database and return its name."""
        name = f"test_{next(self._numbers)}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE template0".encode())
        return name


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A PostgreSQL server for the whole session."""
    with running_server({}) as server:
        yield server


@contextmanager
def running_server(
    settings: Mapping[str, str], logins: Sequence[str] = ("--auth=trust",)
) -> Iterator[PostgresServer]:
    """Run a server.

    Args:
        settings: others than `SETTINGS`.
        logins: the options of initdb that say who needs a password.
    """
    programs = _programs()
    user = _server_user()
    # Not below pytest's own folder: only its user may enter that, and socket paths must be short.
    folder = Path(tempfile.mkdtemp(prefix="relight-postgres-", dir=_memory_folder()))
    try:
        if user is not None:
            os.chown(folder, user.pw_uid, user.pw_gid)
        _create_cluster(programs, folder, user, logins)
        process = _start(programs, folder, user, {**SETTINGS, **settings})
        try:
            _await_ready(process, folder, settings.get("port", ""))
            yield PostgresServer(folder, process)
        finally:
            _stop(process)
    finally:
        shutil.rmtree(folder)


@dataclass(frozen=True)
class GuardedPostgres:
    """A server on loopback that asks each role for its password, as the image of PostgreSQL does.

    Attributes:
        port: its port.
        password: of the superuser, `postgres`.
    """

    port: int
    password: str

    def url(self, role: str, password: str, database: str) -> str:
        return f"postgresql://{role}:{password}@127.0.0.1:{self.port}/{database}"


@pytest.fixture(scope="module")
def guarded_postgres() -> Iterator[GuardedPostgres]:
    """A server of this module, which tests reach by its port."""
    password = secrets.token_hex(24)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    settings = {"listen_addresses": "127.0.0.1", "port": str(port)}
    with running_server(settings, ("--auth-local=trust", "--auth-host=scram-sha-256")) as server:
        with psycopg.connect(
            f"{server.url('postgres')}&port={port}", autocommit=True
        ) as connection:
            connection.execute(f"ALTER ROLE {SERVER_USER} PASSWORD '{password}'".encode())
        yield GuardedPostgres(port, password)


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> str:
    """The URL of a new empty database."""
    return postgres_server.url(postgres_server.create_database())


def _memory_folder() -> Path | None:
    """Return a folder in memory, None if there is none of sufficient size."""
    if not os.access(MEMORY, os.W_OK) or shutil.disk_usage(MEMORY).free < MIN_MEMORY_BYTES:
        return None
    return MEMORY


def _programs() -> Path:
    installed = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3])
    )
    found = installed[-1] if installed else shutil.which("initdb")
    if found is None:
        pytest.skip("PostgreSQL is not installed")
    return Path(found).parent


def _server_user() -> pwd.struct_passwd | None:
    """Return the user that the server runs as, None for the user that runs the tests."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam(SERVER_USER)
    except KeyError:
        pytest.skip(f"PostgreSQL does not run as root, and there is no user {SERVER_USER}")


def _create_cluster(
    programs: Path, folder: Path, user: pwd.struct_passwd | None, logins: Sequence[str]
) -> None:
    subprocess.run(
        [
            programs / "initdb",
            f"--pgdata={folder / 'data'}",
            f"--username={SERVER_USER}",
            *logins,
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--no-sync",
        ],
        check=True,
        capture_output=True,
        cwd=folder,
        **_as(user),
    )


def _start(
    programs: Path,
    folder: Path,
    user: pwd.struct_passwd | None,
    settings: Mapping[str, str],
) -> subprocess.Popen[bytes]:
    options = [f"--{name}={value}" for name, value in settings.items()]
    command = [str(programs / "postgres"), "-D", str(folder / "data"), "-k", str(folder), *options]
    # The kernel stops the server when the test process ends, however it ends.
    on_parent_exit = ["setpriv", "--pdeathsig=INT", "--"] if shutil.which("setpriv") else []
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(
            [*on_parent_exit, *command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=folder,
            **_as(user),
        )


def _as(user: pwd.struct_passwd | None) -> dict[str, Any]:
    if user is None:
        return {}
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def _await_ready(process: subprocess.Popen[bytes], folder: Path, port: str) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            psycopg.connect(
                host=str(folder), port=port, user=SERVER_USER, dbname="postgres"
            ).close()
        except psycopg.OperationalError:
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"PostgreSQL did not start:\n{(folder / 'log').read_text()}")
            time.sleep(0.02)
        else:
            return


def _stop(process: subprocess.Popen[bytes]) -> None:
    # An immediate shutdown: the data is deleted.
    process.send_signal(signal.SIGQUIT)
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
