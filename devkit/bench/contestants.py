"""Who swaps the fleet: Relight, and three general tools at their best."""

import asyncio
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from devkit.bench.meter import Group
from devkit.bench.publishing import AFTER, AFTER_TAG
from devkit.bench.stage import ROOT, Stage
from relight.domain.base import Origin
from relight.domain.names import FLEET_SCOPE, rollout_workflow_id
from relight.domain.rollout.rollout import (
    RolloutPhase,
    RolloutReleaseInput,
    Strategy,
)
from workflows.rollout.rollout import RolloutRelease

RELIGHT = "relight"
_TOOLS = ROOT / "devkit" / "bench" / "tools"
_OTHERS = ROOT / ".venv-bench" / "bin"


class SwapError(Exception):
    """A contestant did not bring the fleet to the release."""


class Contestant(Protocol):
    """Swaps all hosts, and returns when each has passed its checks."""

    @property
    def name(self) -> str:
        """What it is called in the table."""

    @property
    def group(self) -> Group:
        """The cgroup of all that it needs on the controller."""

    async def swap(self) -> None:
        """Bring every host to the release.

        Raises:
            SwapError: it did not.
        """


class Relight:
    """One rollout in one wave. Worker and server run already, as they do in life."""

    name = RELIGHT

    def __init__(self, stage: Stage) -> None:
        self.group = stage.controller
        self._stage = stage

    async def swap(self) -> None:
        """Run a rollout over the whole fleet."""
        ended = await self._stage.client.execute_workflow(
            RolloutRelease.run,
            RolloutReleaseInput(
                release_tag=AFTER_TAG,
                scope=FLEET_SCOPE,
                origin=Origin(requested_by="bench", reason="to be measured"),
                strategy=Strategy(waves=("100%",), max_concurrent=len(self._stage.hosts)),
            ),
            id=rollout_workflow_id(AFTER_TAG, FLEET_SCOPE),
            task_queue=self._stage.settings.task_queue,
        )
        if ended.phase is not RolloutPhase.CONVERGED:
            raise SwapError(ended.model_dump_json(indent=2))


class Tool:
    """A program that is started for the swap and ends with it."""

    def __init__(self, name: str, stage: Stage, argv: Sequence[str], env: dict[str, str]) -> None:
        self.name = name
        self.group = Group(stage.groups / name)
        self._argv = self.group.starting(list(argv))
        self._env = {**os.environ, **env}
        self._log = stage.home / "logs" / f"{name}.log"

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
            said = self._log.read_bytes()[start:].decode(errors="replace")
            raise SwapError(f"{self.name} ended with {code}:\n{said[-4000:]}")


def contestants(stage: Stage) -> list[Contestant]:
    """Return all of them."""
    fleet = str(stage.fleet_file)
    told = {"BENCH_FLEET": fleet, "BENCH_VERSION": AFTER}
    return [
        Relight(stage),
        Tool(
            "asyncssh",
            stage,
            [sys.executable, "-m", "devkit.bench.tools.bare_ssh", fleet, AFTER],
            {},
        ),
        Tool("pyinfra", stage, _pyinfra(), told),
        Tool("ansible", stage, _ansible(stage), _ansible_env(stage)),
    ]


def _pyinfra() -> list[str]:
    files = [str(_TOOLS / name) for name in ("pyinfra_inventory.py", "pyinfra_deploy.py")]
    return [str(_OTHERS / "pyinfra"), "-y", *files]


def _ansible(stage: Stage) -> list[str]:
    inventory = stage.home / "ansible-inventory.json"
    fleet = json.loads(stage.fleet_file.read_text())
    hosts = {host["name"]: {"ansible_host": host["address"]} for host in fleet["hosts"]}
    shared = {
        "ansible_user": fleet["user"],
        "ansible_ssh_private_key_file": fleet["client_key"],
        "ansible_python_interpreter": "/usr/bin/python3",
        "version": AFTER,
        "probe_port": fleet["port"],
        "probe_path": fleet["path"],
    }
    inventory.write_text(json.dumps({"all": {"hosts": hosts, "vars": shared}}))
    playbook = str(_TOOLS / "ansible_swap.yml")
    return [str(_OTHERS / "ansible-playbook"), "-i", str(inventory), playbook]


def _ansible_env(stage: Stage) -> dict[str, str]:
    """Return the settings that make it fast: pipelining, as many forks as hosts, no facts."""
    known: Path = stage.home / "known_hosts"
    config: Path = stage.home / "ansible.cfg"
    config.touch()  # empty, so that nothing of this computer's user takes part
    return {
        "PATH": f"{_OTHERS}:{os.environ['PATH']}",
        "ANSIBLE_CONFIG": str(config),
        "ANSIBLE_HOME": str(stage.home / "ansible"),
        "ANSIBLE_FORKS": str(len(stage.hosts)),
        "ANSIBLE_PIPELINING": "true",
        "ANSIBLE_SSH_ARGS": (
            f"-F none -o UserKnownHostsFile={known} -o StrictHostKeyChecking=yes"
            " -o ControlMaster=auto -o ControlPersist=60s"
        ),
    }
