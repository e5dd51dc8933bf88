"""Calls of `relight-host` that observe a host, for tests."""

from dataclasses import replace
from datetime import timedelta

from relight.hosts import host_program
from relight.hosts.observation import Observation, parse
from relight.hosts.units import UnitState, parse_units
from tests.support.apt_root import UNIT, AptRoot
from tests.support.memory_shell import Unit

TRANSACTION = "relight-install.service"
WAIT, DEADLINE = timedelta(seconds=5), timedelta(minutes=10)


def output(host: AptRoot, call: list[str]) -> str:
    ended = host.call(*call[1:])
    assert (ended.returncode, ended.stderr) == (0, "")
    return ended.stdout


def observed(host: AptRoot, call: list[str] | None = None) -> Observation:
    return parse(output(host, call or host_program.observe()))


def unit(shown: Unit, name: str = UNIT) -> UnitState:
    return parse_units(replace(shown, name=name).shown())[0]
