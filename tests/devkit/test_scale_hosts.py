"""Hosts that are played answer as real ones do: to the real shell, probe and transaction."""

import json
import sys
from datetime import timedelta

import asyncssh
import httpx
import pytest

from devkit.bench.scale.fleet import PlayedRoute
from devkit.bench.scale.stage import Ports
from relight.domain.machine import Machine, MachineStatus
from relight.hosts import host_program, observation, proof, transaction
from relight.hosts.connections import SshHosts
from relight.hosts.errors import (
    Destination,
    HostKeyMismatchError,
    HostUnreachableError,
    LoginRefusedError,
)
from relight.hosts.host_program import Change
from relight.hosts.keys import (
    derive_host_key,
    load_client_key,
    load_secret,
)
from relight.hosts.probe import HttpProbe
from relight.hosts.proof import Expected
from relight.hosts.shell import connect
from relight.hosts.transaction import Phase, TransactionState
from starter.local.children import running
from starter.local.home import prepare_home

ROUTES, CHANGE_SECONDS = 5, 0.3
BEFORE, AFTER = "0.0.73", "0.0.74"
UNIT = "relight-swap-1.service"
SOON = timedelta(seconds=10)
EXPECTED = Expected("lantern-box", AFTER, "lantern-box.service", "/usr/bin/lantern-box")


def machine(number: int, address: str | None = None) -> Machine:
    route = PlayedRoute(number)
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
        "user": "relight",
        "port": ports.ssh_port,
        "client_key": load_client_key(secrets.client_key),
        "host_key_secret": load_secret(secrets.host_key_secret),
        "connect_timeout": SOON,
        **changed,
    }
    return SshHosts(**values)


@pytest.fixture(scope="module")
def secrets(tmp_path_factory):
    return prepare_home(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
async def ports(secrets, tmp_path_factory):
    argv = [sys.executable, "-m", "devkit.bench.scale.hosts", "--routes", str(ROUTES)]
    argv += ["--change-seconds", str(CHANGE_SECONDS), "--version", BEFORE]
    argv += ["--client-key", str(secrets.client_key)]
    argv += ["--host-key-secret", str(secrets.host_key_secret)]
    log = tmp_path_factory.mktemp("log") / "hosts.log"
    async with running("the hosts", argv, log=log) as child:

        async def listen() -> bool:
            return "\n" in child.said()

        await child.until(listen, timedelta(seconds=30))
        yield Ports.model_validate_json(child.said().partition("\n")[0])


@pytest.fixture
def hosts(secrets, ports):
    return ssh_hosts(secrets, ports)


@pytest.mark.parametrize("number", [0, ROUTES - 1])
async def test_each_shows_the_host_key_of_its_own_machine(hosts, number):
    async with hosts.connect(machine(number)) as shell:
        seen = await observation.look(shell, host_program.see())
    assert (seen.package.status, seen.package.version) == ("ii", BEFORE)
    assert seen.unit.is_running


async def test_no_other_machines_host_key_is_shown(hosts):
    with pytest.raises(HostKeyMismatchError):
        async with hosts.connect(machine(0, address=PlayedRoute(1).address)):
            pass


async def test_whoever_has_another_key_is_not_let_in(secrets, ports):
    stranger = ssh_hosts(secrets, ports, client_key=asyncssh.generate_private_key("ssh-ed25519"))
    with pytest.raises(LoginRefusedError):
        async with stranger.connect(machine(0)):
            pass


async def test_beyond_the_fleet_there_is_no_host(hosts):
    with pytest.raises(HostUnreachableError):
        async with hosts.connect(machine(ROUTES)):
            pass


async def test_a_host_is_swapped_by_the_real_transaction_and_proven(hosts, ports):
    states: list[TransactionState] = []
    async with hosts.connect(machine(1)) as shell:
        ended = await transaction.run_to_end(shell, UNIT, Change(AFTER), EXPECTED, states.append)
        again = await transaction.run_to_end(shell, UNIT, Change(AFTER), EXPECTED, states.append)
        seen = await proof.watch(shell, EXPECTED, timedelta(0), lambda _: None, ended.look)
        await transaction.forget(shell, UNIT)
        forgotten = await observation.look(shell, host_program.see(UNIT))
        probed = await HttpProbe(ports.probe_port, "/healthz", SOON)(shell.destination)
    assert (ended.attached, again.attached) == (False, True)
    assert ended.took == pytest.approx(timedelta(seconds=CHANGE_SECONDS), abs=timedelta(seconds=1))
    assert seen.look.package.version == AFTER
    assert transaction.transaction_state(forgotten.change).phase is Phase.ABSENT
    assert probed.endswith(": 200")


async def test_a_swap_leaves_the_other_hosts_alone(hosts, ports):
    async with hosts.connect(machine(2)) as shell:
        await transaction.run_to_end(shell, UNIT, Change(AFTER), EXPECTED, lambda _: None)
    async with httpx.AsyncClient(trust_env=False) as http:
        said = [
            (await http.get(f"http://{PlayedRoute(number).address}:{ports.probe_port}/healthz"))
            for number in (2, 3)
        ]
    assert [json.loads(each.text)["version"] for each in said] == [AFTER, BEFORE]


async def test_a_change_that_takes_longer_than_one_waits_is_seen_under_way(hosts):
    async with hosts.connect(machine(4)) as shell:
        seen = await observation.look(shell, host_program.swap(UNIT, timedelta(0), Change(AFTER)))
    assert transaction.transaction_state(seen.change).phase is Phase.RUNNING
    assert seen.package.version == BEFORE


async def test_a_change_is_rehearsed_and_nothing_is_changed(hosts):
    async with hosts.connect(machine(3)) as shell:
        argv = [str(host_program.PROGRAM), "rehearse", *Change(AFTER).words()]
        rehearsed = await shell.run(argv, timeout=SOON, sudo=True)
        seen = await observation.look(shell, host_program.see())
    assert AFTER in rehearsed.stdout
    assert seen.package.version == BEFORE


async def test_what_relight_host_does_not_know_is_refused_as_it_refuses(secrets, ports):
    route = PlayedRoute(0)
    public = derive_host_key(load_secret(secrets.host_key_secret), route.machine_key).public
    there = Destination(route.address, ports.ssh_port, "relight", route.machine_key)
    async with connect(there, load_client_key(secrets.client_key), public, SOON) as shell:
        program = str(host_program.PROGRAM)
        told = await shell.run([program, "fly"], timeout=SOON, check=False, sudo=True)
    assert told.exit_code == 64
    assert "it does not know" in told.stderr
