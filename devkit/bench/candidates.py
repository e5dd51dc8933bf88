"""The tools that are compared: Relight, and three general tools, each with its best settings."""

import asyncio
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from devkit.bench.environment import ROOT, LabEnvironment
from devkit.bench.meter import Group
from devkit.bench.publishing import AFTER, AFTER_TAG
from devkit.bench.report import REFERENCE
from relight.domain.base import Origin
from relight.domain.names import FLEET_SCOPE, rollout_workflow_id
from relight.domain.rollout.rollout import RolloutPhase, RolloutReleaseInput, RolloutStatus
from relight.domain.rollout.strategy import Strategy
from workflows.endings import result_of
from workflows.rollout.rollout import RolloutRelease

ORIGIN = Origin(requested_by="bench", reason="benchmark")

_TOOLS = ROOT / "devkit" / "bench" / "tools"
_PROGRAMS = ROOT / ".venv-bench" / "bin"
_LOG_TAIL_CHARACTERS = 4000


class SwapError(Exception):
    """A candidate did not bring the fleet to the release."""


class Candidate(Protocol):
    """Swaps all hosts, and returns when each has passed its checks."""

    @property
    def name(self) -> str:
        """Its name in the table."""

    @property
    def group(self) -> Group:
        """The cgroup of its processes on the controller."""

    async def swap(self) -> None:
        """Bring every host to the release.

        Raises:
            SwapError: it failed.
        """


class Relight:
    """A rollout with one wave. Worker and server already run, as in production."""

    name = REFERENCE

    def __init__(self, environment: LabEnvironment) -> None:
        self.group = environment.controller
        self._environment = environment

    async def swap(self) -> None:
        """Run a rollout over the whole fleet."""
        environment = self._environment
        running = environment.client.execute_workflow(
            RolloutRelease.run,
            RolloutReleaseInput(
                release_tag=AFTER_TAG,
                scope=FLEET_SCOPE,
                origin=ORIGIN,
                strategy=Strategy(waves=("100%",), max_concurrent=len(environment.machines)),
            ),
            id=rollout_workflow_id(AFTER_TAG, FLEET_SCOPE),
            task_queue=environment.settings.task_queue,
        )
        result = await result_of(running, RolloutStatus)
        if result.phase is not RolloutPhase.CONVERGED:
            raise SwapError(result.model_dump_json(indent=2))


class Tool:
    """A program that is started for each swap.

    Args:
        name: its name in the table.
        environment: the environment.
        argv: the program and its arguments.
        env: variables to add to this process's environment.
    """

    def __init__(
        self, name: str, environment: LabEnvironment, argv: Sequence[str], env: dict[str, str]
    ) -> None:
        self.name = name
        self.group = Group(environment.groups / name)
        self._argv = self.group.starting(list(argv))
        self._env = {**os.environ, **env}
        self._log = environment.home / "logs" / f"{name}.log"

    async def swap(self) -> None:
        """Run the program."""
        with self._log.open("ab") as log:
            start = log.tell()
            process = await asyncio.create_subprocess_exec(
                *self._argv,
                cwd=ROOT,
                env=self._env,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
            code = await process.wait()
        if code != 0:
            output = self._log.read_bytes()[start:].decode(errors="replace")
            tail = output[-_LOG_TAIL_CHARACTERS:]
            raise SwapError(f"{self.name} ended with exit code {code}:\n{tail}")


def candidates(environment: LabEnvironment) -> list[Candidate]:
    """Return all candidates."""
    fleet = str(environment.fleet_file)
    bare_ssh = [sys.executable, "-m", "devkit.bench.tools.bare_ssh", fleet, AFTER]
    pyinfra_env = {"BENCH_FLEET": fleet, "BENCH_VERSION": AFTER}
    return [
        Relight(environment),
        Tool("asyncssh", environment, bare_ssh, {}),
        Tool("pyinfra", environment, _pyinfra(), pyinfra_env),
        Tool("ansible", environment, _ansible(environment), _ansible_env(environment)),
    ]


def _pyinfra() -> list[str]:
    files = [str(_TOOLS / name) for name in ("pyinfra_inventory.py", "pyinfra_deploy.py")]
    return [str(_PROGRAMS / "pyinfra"), "-y", *files]


def _ansible(environment: LabEnvironment) -> list[str]:
    inventory = environment.home / "ansible-inventory.json"
    fleet = json.loads(environment.fleet_file.read_text())
    hosts = {host["name"]: {"ansible_host": host["address"]} for host in fleet["hosts"]}
    variables = {
        "ansible_user": fleet["user"],
        "ansible_ssh_private_key_file": fleet["client_key"],
        "ansible_python_interpreter": "/usr/bin/python3",
        "version": AFTER,
        "probe_port": fleet["port"],
        "probe_path": fleet["path"],
    }
    inventory.write_text(json.dumps({"all": {"hosts": hosts, "vars": variables}}))
    playbook = str(_TOOLS / "ansible_swap.yml")
    return [str(_PROGRAMS / "ansible-playbook"), "-i", str(inventory), playbook]


def _ansible_env(environment: LabEnvironment) -> dict[str, str]:
    """Return the settings that make it fast: pipelining, one fork per host, shared connections."""
    known_hosts: Path = environment.home / "known_hosts"
    config: Path = environment.home / "ansible.cfg"
    config.touch()  # empty, so that no configuration of this computer's user is read
    return {
        "PATH": f"{_PROGRAMS}:{os.environ['PATH']}",
        "ANSIBLE_CONFIG": str(config),
        "ANSIBLE_HOME": str(environment.home / "ansible"),
        "ANSIBLE_FORKS": str(len(environment.machines)),
        "ANSIBLE_PIPELINING": "true",
        "ANSIBLE_SSH_ARGS": (
            f"-F none -o UserKnownHostsFile={known_hosts} -o StrictHostKeyChecking=yes"
            " -o ControlMaster=auto -o ControlPersist=60s"
        ),
    }
