"""The repository's packages behave as documented, installed on a machine by apt."""

import json
from collections.abc import Iterator

import httpx
import pytest

from tests.lab.guests import Guest
from tests.support.lab import Lab, until

pytestmark = pytest.mark.lab

UNIT = "lantern-box.service"
ONLY_OURS = (
    *("-o", "Dir::Etc::sourcelist=sources.list.d/lantern.list"),
    *("-o", "Dir::Etc::sourceparts=-"),
    *("-o", "APT::Get::List-Cleanup=0"),
)


class Host:
    """A machine with the lab's repository in its apt sources."""

    def __init__(self, lab: Lab, machine_id: str, address: str) -> None:
        self.lab = lab
        self.id = machine_id
        self.address = address

    def apt(self, *arguments: str, check: bool = True) -> tuple[int, str]:
        done = self.lab.run(
            self.id, "apt-get", "-y", "--allow-downgrades", *ONLY_OURS, *arguments, check=check
        )
        return done.returncode, done.stdout + done.stderr

    def install(self, version: str, *, check: bool = True) -> tuple[int, str]:
        return self.apt("install", f"lantern-box={version}", check=check)

    def restart(self) -> None:
        self.lab.run(self.id, "systemctl", "daemon-reload")
        self.lab.run(self.id, "systemctl", "restart", UNIT)

    def unit(self, field: str) -> str:
        shown = self.lab.run(self.id, "systemctl", "show", "--value", "-p", field, UNIT)
        return shown.stdout.strip()

    def journal(self) -> str:
        return self.lab.run(self.id, "journalctl", "--no-pager", "-o", "cat", "-u", UNIT).stdout

    def probe(self) -> httpx.Response:
        found: list[httpx.Response] = []

        def answers() -> bool:
            try:
                found[:] = [httpx.get(f"http://{self.address}:8899/healthz", timeout=2)]
            except httpx.TransportError:
                return False
            return True

        until(answers, 15, lambda: f"the probe does not answer: {self.journal()}")
        return found[0]


@pytest.fixture(scope="module")
def host(lab: Lab) -> Iterator[Host]:
    key = "/etc/apt/keyrings/lantern.asc"
    guest = Guest(
        files={
            "/etc/apt/sources.list.d/lantern.list": (
                f"deb [signed-by={key}] {lab.repository_url} stable main\n"
            ),
            key: lab.signing_key.read_text(),
        },
        commands=(("chmod", "0644", key),),
    )
    machine = lab.create(guest.label, guest.user_data)
    lab.run(machine["id"], "cloud-init", "status", "--wait")
    host = Host(lab, machine["id"], machine["address"])
    host.apt("-o", "APT::Update::Error-Mode=any", "update")
    yield host
    lab.delete(machine["id"])


def configure(host: Host) -> None:
    host.lab.run(host.id, "mkdir", "-p", "/etc/lantern-box")
    # Readable by root only, as a file with secrets must be.
    config = "umask 077 && echo '{}' >/etc/lantern-box/config.json"
    host.lab.run(host.id, "sh", "-c", config)


def test_six_versions_are_available_for_this_architecture(host: Host) -> None:
    listed = host.lab.run(host.id, "apt-cache", *ONLY_OURS, "madison", "lantern-box").stdout
    versions = [line.split("|")[1].strip() for line in listed.splitlines()]
    assert versions == ["0.0.77", "0.0.76", "0.0.75", "0.0.74", "0.0.73", "0.0.70"]


def test_installing_a_good_version_starts_nothing(host: Host) -> None:
    host.install("0.0.73")
    status = host.lab.run(
        host.id, "dpkg-query", "-W", "-f", "${db:Status-Abbrev}|${Version}", "lantern-box"
    )
    assert status.stdout == "ii |0.0.73"
    assert host.unit("ActiveState") == "inactive"
    assert host.unit("UnitFileState") == "disabled"
    files = host.lab.run(host.id, "dpkg", "-L", "lantern-box").stdout.split()
    assert "/usr/bin/lantern-box" in files
    assert "/etc/lantern-box/config.json" not in files


def test_without_its_configuration_the_service_does_not_start_and_logs_why(host: Host) -> None:
    host.install("0.0.73")
    host.lab.run(host.id, "rm", "-f", "/etc/lantern-box/config.json")
    host.restart()
    until(lambda: int(host.unit("NRestarts")) >= 1, 15, host.journal)
    assert "cannot read the configuration /etc/lantern-box/config.json: No such" in host.journal()
    host.lab.run(host.id, "systemctl", "stop", UNIT)


def test_a_good_version_runs_unprivileged_and_is_healthy(host: Host) -> None:
    host.install("0.0.73")
    configure(host)
    host.restart()
    answer = host.probe()
    assert (answer.status_code, answer.json()) == (200, {"status": "ok", "version": "0.0.73"})
    assert "lantern-box: version 0.0.73 starts" in host.journal()
    pid = host.unit("MainPID")
    assert host.lab.run(host.id, "readlink", f"/proc/{pid}/exe").stdout == "/usr/bin/lantern-box\n"
    assert host.lab.run(host.id, "stat", "-c", "%u", f"/proc/{pid}").stdout != "0\n"


def test_after_an_upgrade_the_old_process_runs_until_a_restart(host: Host) -> None:
    configure(host)
    host.install("0.0.73")
    host.restart()
    assert host.probe().json()["version"] == "0.0.73"
    host.install("0.0.74")
    assert host.probe().json()["version"] == "0.0.73"
    exe = host.lab.run(host.id, "readlink", f"/proc/{host.unit('MainPID')}/exe").stdout
    assert exe.strip().endswith("(deleted)")
    host.restart()
    assert host.probe().json()["version"] == "0.0.74"


def test_0_0_75_fails_in_its_postinst_and_a_downgrade_repairs_it(host: Host) -> None:
    code, output = host.install("0.0.75", check=False)
    assert code == 100
    assert "lantern-box: cannot migrate the state" in output
    assert "error exit status 3" in output or "exit status 3" in output
    state = host.lab.run(host.id, "dpkg-query", "-W", "-f", "${db:Status-Abbrev}", "lantern-box")
    assert state.stdout == "iF "
    host.install("0.0.73")


def test_0_0_76_panics_at_every_start(host: Host) -> None:
    configure(host)
    host.install("0.0.76")
    host.restart()
    until(lambda: int(host.unit("NRestarts")) >= 2, 15, host.journal)
    assert "panic: runtime error: invalid memory address" in host.journal()
    assert host.unit("Result") in {"signal", "core-dump", "success"}
    host.install("0.0.73")


def test_0_0_77_runs_and_its_probe_reports_the_problem(host: Host) -> None:
    configure(host)
    host.install("0.0.77")
    host.restart()
    pid = host.unit("MainPID")
    answer = host.probe()
    assert answer.status_code == 503
    assert json.loads(answer.text)["reason"] == "no upstream answers"
    # It keeps running. NRestarts is not checked: it still counts the crashes of another version.
    assert host.unit("ActiveState") == "active"
    assert host.unit("MainPID") == pid
    host.install("0.0.73")


def test_a_repository_signed_by_another_key_is_refused(host: Host) -> None:
    key = "/etc/apt/keyrings/lantern.asc"
    host.lab.run(host.id, "cp", key, "/root/lantern.asc")
    host.lab.run(
        host.id, "sh", "-c", f"gpg --version >/dev/null 2>&1; : >{key}"
    )  # an empty key ring
    code, output = host.apt("-o", "APT::Update::Error-Mode=any", "update", check=False)
    host.lab.run(host.id, "cp", "/root/lantern.asc", key)
    assert code == 100
    assert "NO_PUBKEY" in output or "not signed" in output
