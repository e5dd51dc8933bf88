"""Machines, requests and limits of the tests of the gate before destructions."""

from datetime import timedelta
from typing import Any

from relight.domain.base import Origin
from relight.domain.breaker.breaker import (
    BreakerLimits,
)
from relight.domain.destruction import (
    DestroyMachineInput,
    DestructionReason,
)
from relight.domain.machine import MachineAtProvider, MachineStatus

ORIGIN = Origin(requested_by="tester", reason="a test")
LIMITS = BreakerLimits()
MINUTE = timedelta(minutes=1)
RUN = "the-run-that-failed"
WORKS = None
"""The kind of no fault: the machine answers as ours."""

DESTROYERS = tuple(DestructionReason)


def machine(key: str = "a-g1", **fields: Any) -> MachineAtProvider:
    facts = {
        "key": key,
        "provider": "linode",
        "provider_id": key,
        "region": "east",
        "architecture": "amd64",
        "status": MachineStatus.RUNNING,
        "owner": "us",
        "generation": 1,
    }
    return MachineAtProvider.model_validate({**facts, **fields})


def request(reason: DestructionReason, key: str = "a-g1", **fields: Any) -> DestroyMachineInput:
    return DestroyMachineInput(provider="linode", key=key, reason=reason, origin=ORIGIN, **fields)
