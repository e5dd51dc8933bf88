"""Simulated hosts answer the real shell, probe and transaction as real hosts do."""

import json
import sys
from datetime import timedelta

import asyncssh
import httpx
import pytest

from devkit.bench.scale.environment import Ports
from devkit.bench.scale.fleet import SimulatedRoute
from relight.domain.machine import Machine, MachineStatus
from relight.domain.service import Service
from relight.hosts import host_program, observation, proof, transaction
from relight.hosts.connections import SshHosts, connect
from relight.hosts.errors import (
    Destination,
    HostKeyMismatchError,
    HostUnreachableError,
    LoginRefusedError,
)
from relight.hosts.host_program import Change
from relight.hosts.key_files import fixed_keys
from relight.hosts.keys import (
    derive_host_key,
    load_client_key,
    load_secret,
)
from relight.hosts.probe import HttpProbe
from relight.hosts.transaction import Phase, TransactionState
from starter.local.children import running
from starter.local.home import prepare_home

ROUTES, CHANGE_SECONDS = 5, 0.3
BEFORE, AFTER = "0.0.73", "0.0.74"
UNIT = "relight-swap-1.service"
SOON = timedelta(seconds=10)
SERVICE = Service("lantern-box", "lantern-box.service", "/usr/bin/lantern-box", timedelta(0))


def machine(number: int, address: str | None = None) -> Machine:
    route = SimulatedRoute(number)
    return Machine(
        key=route.machine_key,
        provider=route.provider,
        provider_id=str(number),
        region=route.region,
        architecture="amd64",
        status=MachineStatus.RUNNING,
        address=address or route.address,
    )


def ssh_hosts(secrets, ports, **changed) -> SshHosts:
    values = {
        "client_key": load_client_key(secrets.client_key),
        "host_key_secret": load_secret(secrets.host_key_secret),
        **changed,
    }
    return SshHosts("relight", ports.ssh_port, fixed_keys(**values), SOON)


@pytest.fixture(scope="module")
def secrets(tmp_path_factory):
    return prepare_home(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
async def ports(secrets, tmp_path_factory):
    argv = [sys.executable, "-m", "devkit.bench.scale.host_server", "--routes", str(ROUTES)]
    argv += ["--change-seconds", str(CHANGE_SECONDS), "--version", BEFORE]
    argv += ["--client-key", str(secrets.client_key)]
    argv += ["--host-key-secret", str(secrets.host_key_secret)]
    log = tmp_path_factory.mktemp("log") / "hosts.log"
    async with running("the hosts", argv, log=log) as child:

        async def listen() -> bool:
            return "\n" in child.output()

        await child.wait_until_ready(listen, timedelta(seconds=30))
        yield Ports.model_validate_json(child.output().partition("\n")[0])


@pytest.fixture
def hosts(secrets, ports):
    return ssh_hosts(secrets, ports)


@pytest.mark.parametrize("number", [0, ROUTES - 1])
async def test_each_host_has_the_host_key_of_its_machine(hosts, number):
    async with hosts.connect(machine(number)) as shell:
        observed = await observation.observe(shell, host_program.observe())
    assert (observed.package.status, observed.package.version) == ("ii", BEFORE)
    assert observed.unit.is_running


async def test_a_host_does_not_have_the_host_key_of_another_machine(hosts):
    with pytest.raises(HostKeyMismatchError):
        async with hosts.connect(machine(0, address=SimulatedRoute(1).address)):
            pass


async def test_another_client_key_is_refused(secrets, ports):
    stranger = ssh_hosts(secrets, ports, client_key=asyncssh.generate_private_key("ssh-ed25519"))
    with pytest.raises(LoginRefusedError):
        async with stranger.connect(machine(0)):
            pass


async def test_there_is_no_host_outside_of_the_fleet(hosts):
    with pytest.raises(HostUnreachableError):
        async with hosts.connect(machine(ROUTES)):
            pass


async def test_a_host_is_swapped_by_the_real_transaction_and_proven(hosts, ports):
    states: list[TransactionState] = []
    async with hosts.connect(machine(1)) as shell:
        ended = await transaction.run_transaction(
            shell, UNIT, Change(AFTER), SERVICE, states.append
        )
        again = await transaction.run_transaction(
            shell, UNIT, Change(AFTER), SERVICE, states.append
        )
        observed = await proof.watch(shell, SERVICE, AFTER, lambda _: None, ended.observation)
        await transaction.forget(shell, UNIT)
        forgotten = await observation.observe(shell, host_program.observe(UNIT))
        probed = await HttpProbe(ports.probe_port, "/healthz", SOON)(shell.destination)
    assert (ended.attached, again.attached) == (False, True)
    assert ended.took == pytest.approx(timedelta(seconds=CHANGE_SECONDS), abs=timedelta(seconds=1))
    assert observed.observation.package.version == AFTER
    assert transaction.transaction_state(forgotten.transaction).phase is Phase.ABSENT
    assert probed.endswith(": 200")


async def test_a_swap_does_not_change_other_hosts(hosts, ports):
    async with hosts.connect(machine(2)) as shell:
        await transaction.run_transaction(shell, UNIT, Change(AFTER), SERVICE, lambda _: None)
    async with httpx.AsyncClient(trust_env=False) as http:
        responses = [
            (await http.get(f"http://{SimulatedRoute(number).address}:{ports.probe_port}/healthz"))
            for number in (2, 3)
        ]
    assert [json.loads(each.text)["version"] for each in responses] == [AFTER, BEFORE]


async def test_a_change_longer_than_the_wait_is_observed_as_running(hosts):
    async with hosts.connect(machine(4)) as shell:
        observed = await observation.observe(
            shell, host_program.swap(UNIT, timedelta(0), timedelta(hours=1), Change(AFTER))
        )
    assert transaction.transaction_state(observed.transaction).phase is Phase.RUNNING
    assert observed.package.version == BEFORE


async def test_a_dry_run_changes_nothing(hosts):
    async with hosts.connect(machine(3)) as shell:
        argv = [str(host_program.PROGRAM), "dry-run", *Change(AFTER).words()]
        result = await shell.run(argv, timeout=SOON, sudo=True)
        observed = await observation.observe(shell, host_program.observe())
    assert AFTER in result.stdout
    assert observed.package.version == BEFORE


async def test_an_unknown_subcommand_is_refused_as_by_the_host_program(secrets, ports):
    route = SimulatedRoute(0)
    public = derive_host_key(load_secret(secrets.host_key_secret), route.machine_key).public
    there = Destination(route.address, ports.ssh_port, "relight", route.machine_key)
    async with connect(there, [load_client_key(secrets.client_key)], [public], SOON) as shell:
        program = str(host_program.PROGRAM)
        result = await shell.run([program, "fly"], timeout=SOON, check=False, sudo=True)
    assert result.exit_code == 64
    assert "unknown subcommand" in result.stderr
