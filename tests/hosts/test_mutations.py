"""Each way to keep an old process is found, and no right swap is blamed."""

import io
import json
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from lab import inside
from relight.domain.service import OnChange, Service
from relight.hosts import host_program
from relight.hosts.observation import Observation, parse
from tests.hosts.mutations import (
    LIBRARY,
    LOGIN,
    MUTATIONS,
    NAME,
    PROGRAM,
    UNIT,
    Mutation,
    service,
)
from tests.support.lab import Lab, until

pytestmark = pytest.mark.lab

SOURCE = Path(__file__).parents[1] / "support" / "mutant.c"
ARCHITECTURE = "all"


@dataclass
class MutantHost:
    """A machine with the host program, on which one package after the other is installed.

    Attributes:
        built: the folder with the programs of each version.
    """

    lab: Lab
    id: str
    built: Path

    def sh(self, script: str) -> str:
        path = f"PATH={host_program.PROGRAM.parent}:$PATH"
        return self.lab.run(self.id, "sh", "-ec", f"{path}\n{script}").stdout

    def put(self, path: str, content: bytes, mode: int = 0o644) -> None:
        """Write a file on the machine."""
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            member = tarfile.TarInfo(path.lstrip("/"))
            member.size, member.mode = len(content), mode
            archive.addfile(member, io.BytesIO(content))
        argv = inside.inside(self.lab.state, self.id, ["tar", "-xC", "/"])
        subprocess.run(argv, input=packed.getvalue(), check=True)

    def put_deb(self, mutation: Mutation, version: str, folder: Path) -> None:
        """Build a version of a mutation's package, as /run/new.deb."""
        tree = folder / version
        control = f"Package: {NAME}\nVersion: {version}\nArchitecture: {ARCHITECTURE}\n"
        control += "Maintainer: The lab <lab@localhost>\nDescription: keeps running\n"
        for path, text in {**mutation.files, "/DEBIAN/control": control}.items():
            file = tree / path.lstrip("/")
            file.parent.mkdir(parents=True, exist_ok=True)
            if text.startswith("@"):
                file.write_bytes((self.built / f"{text[1:]}-{version}").read_bytes())
            else:
                file.write_text(text.replace("@version", version))
            file.chmod(0o755)
        build = ("dpkg-deb", "--root-owner-group", "-Znone", "--build", tree, folder / "new.deb")
        subprocess.run(build, check=True, stdout=subprocess.DEVNULL)
        self.put("/run/new.deb", (folder / "new.deb").read_bytes())

    def configure(self, mutation: Mutation) -> Service:
        settings: dict[str, Any] = {**mutation.settings}
        settings.pop("start", None)
        service = Service(
            NAME,
            settings.pop("unit", f"{NAME}.service"),
            "",
            timedelta(0),
            more_units=settings.pop("more_units", ()),
            on_change=OnChange(settings.pop("on_change", "restart")),
        )
        assert not settings
        self.put(str(host_program.CONFIGURATION), host_program.configuration(service, "").encode())
        return service

    def observe(self) -> Observation:
        return parse(self.sh("relight-host observe"))

    def until_proven(self) -> None:
        """Wait until all processes run the release: a reload returns before its end."""
        last: list[Observation] = []

        def proven() -> bool:
            last[:] = [self.observe()]
            return last[0].is_installed_file and not last[0].stale

        until(proven, 10, lambda: f"it is blamed: {last}")

    def until_found(self, words: str) -> None:
        """Wait until an observation names what is old: a new process has to start its program."""
        last: list[Observation] = []

        def found() -> bool:
            last[:] = [self.observe()]
            return any(words in line for line in last[0].stale)

        until(found, 10, lambda: f"it is not found: {last}")


def _build_programs(folder: Path, version: str) -> None:
    """Build a library, a program that is linked with it, and one that is not."""
    library, source = folder / f"library-{version}", folder / "library.c"
    source.write_text(
        "const char *library_version(void);\n"
        f'const char *library_version(void) {{ return "{version}"; }}\n'
    )
    name, path = "-Wl,-soname,libmutant.so", f"-Wl,-rpath,{Path(LIBRARY).parent}"
    define = f'-DVERSION="{version}"'
    linked, program = folder / f"linked-{version}", folder / f"program-{version}"
    _compile("-shared", "-fPIC", name, "-o", library, source)
    _compile("-DLIBRARY", define, "-o", linked, SOURCE, library, path)
    _compile(define, "-o", program, SOURCE)


def _compile(*argv: str | Path) -> None:
    subprocess.run(["gcc", "-O1", "-Wall", "-Wextra", "-Werror", *argv], check=True)


@pytest.fixture(scope="module")
def mutants(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MutantHost]:
    built = tmp_path_factory.mktemp("mutants")
    for version in ("1.0", "2.0"):
        _build_programs(built, version)
    machine = lab.create("mutants")
    host = MutantHost(lab, machine["id"], built)
    host.put(str(host_program.PROGRAM), host_program.text(), 0o755)
    lab.until_run(host.id, "systemctl", "is-system-running", "--wait")
    yield host
    lab.delete(host.id)


@pytest.fixture
def mutated(
    mutants: MutantHost, request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[tuple[MutantHost, Mutation]]:
    """A host on which version 1.0 of a mutation's package runs, and 2.0 is /run/new.deb."""
    mutation = request.param
    service = mutants.configure(mutation)
    mutants.put_deb(mutation, "1.0", tmp_path)
    mutants.sh(": >/run/mutant.env; dpkg --install /run/new.deb; systemctl daemon-reload")
    mutants.sh(
        f"systemctl start {mutation.settings.get('start', '')}"
        if "start" in mutation.settings
        else ":"
    )
    mutants.sh("relight-host serve")
    mutants.put_deb(mutation, "2.0", tmp_path)
    yield mutants, mutation
    units = f"'{service.unit}' {' '.join(service.more_units)}"
    mutants.sh(f"systemctl stop {units}; dpkg --purge {NAME}; rm -rf /run/systemd/system/{NAME}*")
    mutants.sh(f"systemctl daemon-reload; systemctl reset-failed; rm -f /run/{NAME}.pid")


@pytest.mark.parametrize("mutated", MUTATIONS.values(), indirect=True, ids=MUTATIONS)
def test_what_is_old_is_found_and_what_is_new_is_proven(
    mutated: tuple[MutantHost, Mutation],
) -> None:
    host, mutation = mutated
    host.until_proven()
    host.sh(mutation.keep)
    host.until_found(mutation.stale)
    assert not host.observe().is_installed_file
    host.sh(mutation.undo)
    host.sh("systemctl daemon-reload; relight-host serve")
    host.until_proven()
    assert host.observe().package.version == "2.0"


# ---------------------------------------------------------------- sessions that outlive a swap

# As sshd and cron: what they start for somebody goes on.
SESSIONS = Mutation(
    {
        PROGRAM: "@program",
        UNIT: service(
            "KillMode=process",
            f"ExecStartPre=/bin/sh -c '({LOGIN} exec {PROGRAM}) &'",
            f"ExecStart={PROGRAM}",
        ),
    },
    keep="",
    stale="",
)


@pytest.mark.parametrize("mutated", [SESSIONS], indirect=True, ids=["sessions"])
def test_a_session_that_goes_on_does_not_count(mutated: tuple[MutantHost, Mutation]) -> None:
    host, _ = mutated
    old = host.sh("pgrep --full --exact " + PROGRAM).split()
    assert len(old) == 2
    host.sh("dpkg --install /run/new.deb")
    assert len(host.observe().stale) == 1  # the service itself
    host.sh("relight-host serve")
    host.until_proven()
    assert len(set(old) & set(host.sh("pgrep --full --exact " + PROGRAM).split())) == 1
    host.sh("systemctl kill mutant.service")


# ---------------------------------------------------------------- a service for each connection

PER_CONNECTION = Mutation(
    {
        PROGRAM: "@program",
        UNIT.replace(".service", "@.service"): service(f"ExecStart={PROGRAM}"),
        UNIT.replace(".service", ".socket"): (
            "[Socket]\nListenStream=127.0.0.1:7007\nAccept=yes\n[Install]\nWantedBy=sockets.target\n"
        ),
    },
    keep="",
    stale="",
    settings={"unit": "mutant@*.service", "more_units": ("mutant.socket",)},
)


@pytest.mark.parametrize("mutated", [PER_CONNECTION], indirect=True, ids=["per-connection"])
def test_a_socket_that_starts_a_process_for_each_connection_rests_without_one(
    mutated: tuple[MutantHost, Mutation],
) -> None:
    host, _ = mutated
    host.until_proven()
    assert [unit.name for unit in host.observe().units] == ["mutant.socket"]
    host.sh("dpkg --install /run/new.deb; relight-host serve")
    host.until_proven()
    assert host.observe().package.version == "2.0"


@pytest.mark.parametrize("mutated", [PER_CONNECTION], indirect=True, ids=["open connection"])
def test_an_open_connection_of_the_old_release_is_ended(
    mutated: tuple[MutantHost, Mutation],
) -> None:
    host, _ = mutated
    connect = "exec 3<>/dev/tcp/127.0.0.1/7007; read -u 3"
    host.sh(f"systemd-run --quiet --unit=client bash -c '{connect}'")
    host.lab.until_run(host.id, "sh", "-c", f"pgrep --full --exact {PROGRAM}")
    host.sh("dpkg --install /run/new.deb")
    assert any("runs the old" in line for line in host.observe().stale)
    host.sh("relight-host serve")
    host.until_proven()


# ---------------------------------------------------------------- connections through a swap

CONNECTIONS = 3000

# It answers what it has accepted before it ends.
_SERVER = """\
import signal, socket, threading
listening, ending = socket.socket(fileno=3), threading.Event()
signal.signal(signal.SIGTERM, lambda *_: ending.set())
listening.settimeout(0.05)
while not ending.is_set():
    try:
        connection, _ = listening.accept()
    except TimeoutError:
        continue
    with connection:
        connection.sendall(b"@version")
"""

# It goes on until the new release has answered.
_CLIENT = """\
import collections, json, pathlib, socket
answers = collections.Counter()
while answers.total() < CONNECTIONS or not answers["2.0"]:
    if answers.total() == CONNECTIONS // 3:
        pathlib.Path("/run/swap-now").touch()
    try:
        with socket.create_connection(("127.0.0.1", 7007), 20) as connection:
            answers[connection.recv(16).decode() or "closed"] += 1
    except OSError as error:
        answers[type(error).__name__] += 1
print(json.dumps(+answers))
"""

SOCKET = Mutation(
    {
        "/usr/lib/mutant/app": _SERVER,
        "/lib/systemd/system/mutant.service": (
            "[Service]\nExecStart=/usr/bin/python3 /usr/lib/mutant/app\n"
            "[Install]\nWantedBy=multi-user.target\n"
        ),
        "/lib/systemd/system/mutant.socket": (
            "[Socket]\nListenStream=127.0.0.1:7007\n[Install]\nWantedBy=sockets.target\n"
        ),
    },
    keep="",
    stale="",
    settings={"more_units": ("mutant.socket",)},
)


@pytest.mark.parametrize("mutated", [SOCKET], indirect=True, ids=["socket"])
def test_no_connection_is_lost_while_a_socket_activated_service_is_swapped(
    mutated: tuple[MutantHost, Mutation],
) -> None:
    host, _ = mutated
    host.put("/run/client.py", f"CONNECTIONS = {CONNECTIONS}\n{_CLIENT}".encode())
    host.sh("rm -f /run/swap-now")
    argv = inside.inside(host.lab.state, host.id, ["python3", "/run/client.py"])
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as client:
        host.lab.until_run(host.id, "test", "-e", "/run/swap-now")
        host.sh("dpkg --install /run/new.deb; relight-host serve")
        host.until_proven()
        output, _ = client.communicate(timeout=60)
    answers = json.loads(output)
    assert set(answers) == {"1.0", "2.0"}, answers
    assert sum(answers.values()) >= CONNECTIONS
