"""Faults of errors on a host."""

import pytest

from relight.domain.fault.fault import FaultClass
from relight.domain.fault.table import RULES
from relight.hosts.errors import (
    TAIL_LINES,
    Destination,
    FirstBootFailedError,
    PackageError,
    RemoteError,
    fault_of,
)

HOST = Destination(address="198.18.0.2", port=22, user="relight", machine_key="de-1-g1")


def test_a_fault_contains_host_operation_and_output() -> None:
    error = PackageError(
        "disk-full",
        "No space left on device",
        destination=HOST,
        attempted="change lantern-box",
        argv=["apt-get", "install"],
        exit_code=100,
        stderr="\n".join(str(line) for line in range(100)) + "\n\n",
        journal=[str(line) for line in range(100)],
    )
    fault = fault_of(error)
    assert (fault.kind, fault.fault_class) == ("disk-full", FaultClass.HOST)
    assert fault.summary == "de-1-g1 (198.18.0.2): change lantern-box: No space left on device"
    assert (fault.host, fault.machine_key) == ("198.18.0.2", "de-1-g1")
    assert (fault.argv, fault.exit_code) == (("apt-get", "install"), 100)
    assert fault.stderr_tail.splitlines() == [str(line) for line in range(80, 100)]
    assert len(fault.journal_tail) == TAIL_LINES


def test_a_fault_without_a_host_has_only_its_text() -> None:
    fault = fault_of(RemoteError("something"))
    assert fault.summary == "something"
    assert fault.host is None


@pytest.mark.parametrize("kind", ["disk-full", "dpkg-lock-held", "repository-unreachable"])
def test_class_and_retry_come_from_the_table_of_faults(kind: str) -> None:
    error = PackageError(kind, "text")
    assert (error.fault_class, error.retryable) == (RULES[kind].fault_class, RULES[kind].retried)


def test_a_failed_first_boot_names_its_step() -> None:
    fault = fault_of(FirstBootFailedError("install", "exit code 100", destination=HOST))
    assert fault.attempted == "first boot, install"
