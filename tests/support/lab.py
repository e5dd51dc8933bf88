"""A lab for the tests, as a real process, and access to its machines without their network."""

import base64
import contextlib
import json
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from lab import cgroups, inside, lifecycle
from lab.errors import LabError
from lab.names import LabNames

READY_SECONDS = 240  # the first start builds the base image
STOP_SECONDS = 30


@dataclass(frozen=True)
class Lab:
    """A running lab.

    Attributes:
        name: its name.
        state: its state folder.
        process: the process that serves it.
        api_url, token: how to reach its API.
        repository_url, signing_key: its apt repository, and the file with its public key.
        network: its range of addresses.
    """

    name: str
    state: Path
    process: subprocess.Popen[bytes]
    api_url: str
    token: str
    repository_url: str
    signing_key: Path
    network: str

    def client(self) -> httpx.Client:
        """Return a client of the API, with the token."""
        headers = {"Authorization": f"Bearer {self.token}"}
        # Without TLS there is nothing to verify; to load certificates takes 20 ms each time.
        return httpx.Client(base_url=self.api_url, headers=headers, timeout=10, verify=False)

    def machines(self, label: str | None = None) -> list[dict[str, Any]]:
        """Return the existing machines; with a label, only the machine that has it."""
        with self.client() as client:
            query = {} if label is None else {"label": label}
            return list(client.get("/v1/machines", params=query).raise_for_status().json())

    def machine_id(self, label: str) -> str:
        """Return the id of the machine that has this label."""
        (machine,) = self.machines(label)
        return str(machine["id"])

    def create(self, label: str, user_data: str = "", region: str = "lab-east") -> dict[str, Any]:
        """Create a machine, and wait until it runs."""
        packed = base64.b64encode(user_data.encode()).decode()
        created = self.request_machine(label=label, region=region, user_data=packed)
        return self.until_status(created["id"], "running")

    def request_machine(self, *, region: str = "lab-east", **body: Any) -> dict[str, Any]:
        """Create a machine and return it. It boots in the background."""
        with self.client() as client:
            answer = client.post("/v1/machines", json={"region": region, **body})
            created: dict[str, Any] = answer.raise_for_status().json()
        return created

    def take_snapshot(self, machine_id: str, name: str) -> None:
        """Make the disk of a stopped machine an image for further machines."""
        with self.client() as client:
            path = f"/v1/machines/{machine_id}/snapshots"
            client.post(path, json={"name": name}).raise_for_status()

    def until_status(self, machine_id: str, status: str) -> dict[str, Any]:
        """Wait until a machine has this status, and return it."""
        found: dict[str, Any] = {}

        def reached() -> bool:
            with self.client() as client:
                found.update(client.get(f"/v1/machines/{machine_id}").raise_for_status().json())
            return bool(found["status"] == status)

        until(reached, 30, lambda: f"{machine_id} is not {status}: {found}")
        return found

    def request_deletion(self, machine_id: str) -> None:
        """Delete a machine. It is removed in the background."""
        with self.client() as client:
            client.delete(f"/v1/machines/{machine_id}").raise_for_status()

    def delete(self, machine_id: str) -> None:
        """Delete a machine, and wait until it is gone."""
        with self.client() as client:
            path = f"/v1/machines/{machine_id}"
            client.delete(path).raise_for_status()
            until(lambda: client.get(path).status_code == 404, 30, lambda: f"{path} stays")

    def run(
        self, machine_id: str, *argv: str, check: bool = True, timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in a machine as root. It needs neither the network nor sshd."""
        done = subprocess.run(
            inside.inside(self.state, machine_id, argv),
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            check=False,
            timeout=timeout,
        )
        if check and done.returncode != 0:
            pytest.fail(f"{argv} on {machine_id}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def until_run(self, machine_id: str, *argv: str, seconds: float = 30) -> str:
        """Repeat a command in a machine until it succeeds, and return its output."""
        last: list[subprocess.CompletedProcess[str]] = []

        def succeeds() -> bool:
            last[:] = [self.run(machine_id, *argv, check=False)]
            return last[0].returncode == 0

        until(succeeds, seconds, lambda: f"{argv} on {machine_id}: {last}")
        return last[0].stdout

    def leader(self, machine_id: str) -> int:
        """Return the process id of a machine's init on this computer."""
        return inside.leader(self.state, machine_id)

    def cgroup(self, machine_id: str) -> Path:
        """Return the cgroup of a machine's processes."""
        return cgroups.folder(LabNames(self.name).tag, machine_id)

    def namespace(self, machine_id: str) -> str:
        """Return the name of a machine's network namespace in `ip netns`."""
        return LabNames(self.name).machine(machine_id)

    def cut_power(self, machine_id: str) -> None:
        """Kill all processes of a machine. It is then stopped."""
        cgroups.kill(self.cgroup(machine_id))
        self.until_status(machine_id, "stopped")

    def shut_down(self, machine_id: str) -> None:
        """Shut a machine down in order. It is then stopped."""
        self.run(machine_id, "systemctl", "--no-block", "poweroff")
        self.until_status(machine_id, "stopped")

    def until_rebooted(self, machine_id: str, leader: int) -> None:
        """Wait until a machine has another init than `leader`.

        A command that enters a machine while it shuts down may never end.
        """

        def rebooted() -> bool:
            try:
                return self.leader(machine_id) != leader
            except LabError:  # it is off for a moment
                return False

        until(rebooted, 30, lambda: f"{machine_id} did not reboot")

    def start(self, machine_id: str) -> None:
        """Start a stopped machine, and wait until it runs."""
        with self.client() as client:
            client.post(f"/v1/machines/{machine_id}/start").raise_for_status()
        self.until_status(machine_id, "running")

    @contextlib.contextmanager
    def black_hole(self, machine_id: str) -> Iterator[None]:
        """Drop all packets to a machine until the block ends."""
        enter = ["ip", "netns", "exec", self.namespace(machine_id), "nft"]
        table = "add table inet black_hole"
        chain = (
            "add chain inet black_hole in { type filter hook input priority -300; policy drop; }"
        )
        subprocess.run([*enter, f"{table}; {chain}"], check=True)
        try:
            yield
        finally:
            subprocess.run([*enter, "delete table inet black_hole"], check=True)

    @contextlib.contextmanager
    def frozen(self, machine_id: str) -> Iterator[None]:
        """Freeze the processes of a machine until the block ends. Its kernel still answers."""
        switch = self.cgroup(machine_id) / "cgroup.freeze"
        switch.write_text("1")
        try:
            yield
        finally:
            switch.write_text("0")


def until(condition: Callable[[], bool], seconds: float, otherwise: Callable[[], str]) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(otherwise())
        time.sleep(0.02)


def new_name() -> str:
    """Return an unused name for a lab."""
    return f"t{uuid.uuid4().hex[:8]}"


def start_lab(name: str, state: Path, *, wrapper: tuple[str, ...] = ()) -> subprocess.Popen[bytes]:
    """Start a lab; its output is appended to a file beside its state folder."""
    serve = [sys.executable, "-m", "lab", "serve", "--name", name, "--state", str(state)]
    # It ends with this process, also when this process is killed.
    dies_with_us = ["setpriv", "--pdeathsig", "TERM", "--"]
    with log_of(state).open("ab") as log:
        return subprocess.Popen(
            [*wrapper, *dies_with_us, *serve],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def until_ready(name: str, state: Path, process: subprocess.Popen[bytes]) -> Lab:
    """Wait until a started lab answers."""
    file = state / lifecycle.LAB_FILE

    def ready() -> bool:
        if process.poll() is not None:
            pytest.fail(f"the lab ended with {process.returncode}:\n{log_of(state).read_text()}")
        # The file of a killed lab stays until the next lab has removed it.
        return file.exists() and json.loads(file.read_text())["pid"] == process.pid

    until(ready, READY_SECONDS, lambda: f"the lab does not answer:\n{log_of(state).read_text()}")
    addresses = json.loads(file.read_text())
    return Lab(
        name=name,
        state=state,
        process=process,
        api_url=addresses["url"],
        token=Path(addresses["token_file"]).read_text(),
        repository_url=addresses["repository_url"],
        signing_key=Path(addresses["signing_key"]),
        network=addresses["network"],
    )


def log_of(state: Path) -> Path:
    """Return the file with a lab's output."""
    return state.with_name(f"{state.name}.log")


@contextlib.contextmanager
def running_lab(state: Path, name: str | None = None) -> Iterator[Lab]:
    """Run a lab until the block ends. It must then leave nothing behind."""
    name = name or new_name()
    process = start_lab(name, state)
    try:
        yield until_ready(name, state, process)
    finally:
        stop(process)
        left = lifecycle.sweep(name, state)
    assert left == [], f"the lab left this behind: {left}\n{log_of(state).read_text()}"


def stop(process: subprocess.Popen[bytes], number: signal.Signals = signal.SIGTERM) -> None:
    """Send a signal to a lab, and wait for its end."""
    if process.poll() is None:
        process.send_signal(number)
        process.wait(STOP_SECONDS)


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """One lab for all tests. Each test deletes its own machines."""
    with running_lab(tmp_path_factory.mktemp("lab") / "state") as lab:
        yield lab


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the tests that need a lab if this computer cannot run one, with the reason."""
    marked = [item for item in items if item.get_closest_marker("lab")]
    if marked and (missing := lifecycle.preflight()):
        skip = pytest.mark.skip(
            reason="this computer cannot run a lab; it lacks " + "; ".join(missing)
        )
        for item in marked:
            item.add_marker(skip)
