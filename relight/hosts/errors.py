"""Errors on a host or on the connection to it, and their conversion to faults.

Each error carries what was attempted, on which machine, with which command, and the result. The
table of faults maps its kind to a class and a remedy.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from relight.domain.fault.error import DomainError
from relight.domain.fault.fault import Fault, FaultClass
from relight.domain.text import MAX_TEXT_BYTES, visible_head


@dataclass(frozen=True)
class Destination:
    """The address and login of a machine's sshd.

    Attributes:
        address: an IP address or a host name.
        port: of its sshd.
        user: the unprivileged user to log in as.
        machine_key: the machine's key, named in every error.
    """

    address: str
    port: int
    user: str
    machine_key: str

    def __str__(self) -> str:
        return f"{self.machine_key} ({self.address})"


TAIL_LINES = 20
"""How many of the last lines of a command's output or a unit's journal a fault carries."""


class RemoteError(DomainError):
    """An operation on a host failed.

    Attributes:
        text: what happened, without the host.
        destination: the host; None if no connection was attempted.
        attempted: the operation, as in `install lantern-box=0.0.74`.
        argv: the command that failed; empty if there was none.
        exit_code: its exit code; None if it had none.
        stderr: its standard error, or its journal if it wrote there.
        journal: the last journal lines of the unit concerned, oldest first.
    """

    kind = "command-failed"

    def __init__(
        self,
        text: str,
        *,
        destination: Destination | None = None,
        attempted: str = "",
        argv: Sequence[str] = (),
        exit_code: int | None = None,
        stderr: str = "",
        journal: Sequence[str] = (),
    ) -> None:
        super().__init__(text)
        self.text = str(self.args[0])
        self.destination = destination
        self.attempted = attempted
        self.argv = tuple(argv)
        self.exit_code = exit_code
        self.stderr = stderr
        self.journal = tuple(journal)

    @property
    def host(self) -> str | None:
        """The address of the host."""
        return self.destination.address if self.destination else None

    @property
    def machine_key(self) -> str | None:
        """The key of the machine."""
        return self.destination.machine_key if self.destination else None

    def __str__(self) -> str:
        where = str(self.destination) if self.destination else ""
        text = ": ".join(part for part in (where, self.attempted, self.text) if part)
        return visible_head(text, MAX_TEXT_BYTES)


class HostUnreachableError(RemoteError):
    """No SSH connection could be opened."""

    kind = "host-unreachable"


class HostKeyMismatchError(RemoteError):
    """The host key is not that of the created machine: never retried, never accepted."""

    kind = "host-key-mismatch"


class AlgorithmsDifferError(RemoteError):
    """The host's sshd allows no key exchange, cipher or MAC that the control plane offers."""

    kind = "ssh-algorithms-differ"


class LoginRefusedError(RemoteError):
    """The host refuses the control plane's login."""

    kind = "login-refused"


class SudoRefusedError(RemoteError):
    """The host accepts the login, but sudo refuses to run the command."""

    kind = "sudo-refused"


class HostProgramMissingError(RemoteError):
    """The host lacks `relight-host`, or another command that was to run as root."""

    kind = "host-program-missing"


class HostKeyNotChangedError(RemoteError):
    """The host did not take its new host key; it has the one from before."""

    kind = "host-key-not-changed"


class HostSettingsNotChangedError(RemoteError):
    """The host did not take its new settings; it has those from before."""

    kind = "host-settings-not-changed"


class HostSettingsDifferError(RemoteError):
    """The host has other settings than those that are declared."""

    kind = "host-settings-differ"


class OldKeyAcceptedError(RemoteError):
    """The host still accepts a client key that was taken away from it."""

    kind = "old-key-accepted"


class HostNotReadyError(RemoteError):
    """The host is booting or shutting down, and refuses logins or questions."""

    kind = "host-booting"


class ConnectionLostError(RemoteError):
    """The connection broke during a command. Whether the command went on is unknown."""

    kind = "connection-lost"


class CommandFailedError(RemoteError):
    """A command exited with a code other than 0, or was killed by a signal."""

    kind = "command-failed"


class CommandTimeoutError(RemoteError):
    """A command did not end in time."""

    kind = "command-timeout"


class TransactionLostError(RemoteError):
    """The host does not know the transaction any more, as after a reboot: it may start again."""

    kind = "transaction-lost"


class UnreadableAnswerError(RemoteError):
    """The output of a tool on the host cannot be parsed."""

    kind = "unreadable-answer"


class HostMisbehavesError(RemoteError):
    """The host sends more than is read, never comes to an end, or breaks the protocol."""

    kind = "host-misbehaves"


class StaleProcessError(RemoteError):
    """The unit's process runs another file than the installed one."""

    kind = "stale-process"


class ProbeFailedError(RemoteError):
    """The service did not pass its health probe."""

    kind = "probe-failed"


class NotListeningError(ProbeFailedError):
    """The port refuses connections, as before the service has opened it. The probe may retry."""


class ProbeNotRunnableError(RemoteError):
    """The health probe is a command that cannot be run."""

    kind = "probe-not-runnable"


class FirstBootFailedError(RemoteError):
    """cloud-init, or one of Relight's steps in it, failed.

    Attributes:
        step: the step that failed; `cloud-init` if it was none of Relight's.
    """

    kind = "first-boot-failed"

    def __init__(
        self,
        step: str,
        text: str,
        *,
        destination: Destination | None = None,
        exit_code: int | None = None,
        stderr: str = "",
        journal: Sequence[str] = (),
        fault_class: FaultClass = FaultClass.HOST,
    ) -> None:
        super().__init__(
            text,
            destination=destination,
            attempted=f"first boot, {step}",
            exit_code=exit_code,
            stderr=stderr,
            journal=journal,
        )
        self.step = step
        self._fault_class = fault_class

    @property
    def fault_class(self) -> FaultClass:
        """The class of the failed step's own fault."""
        return self._fault_class


class _KindedError(RemoteError):
    """An error whose kind is given."""

    def __init__(  # noqa: PLR0913 - the kind, and all fields of RemoteError
        self,
        kind: str,
        text: str,
        *,
        destination: Destination | None = None,
        attempted: str = "",
        argv: Sequence[str] = (),
        exit_code: int | None = None,
        stderr: str = "",
        journal: Sequence[str] = (),
    ) -> None:
        super().__init__(
            text,
            destination=destination,
            attempted=attempted,
            argv=argv,
            exit_code=exit_code,
            stderr=stderr,
            journal=journal,
        )
        self.kind = kind


class PackageError(_KindedError):
    """apt or dpkg failed, or the package is not in the expected state.

    Attributes:
        installed_version: the other version that is completely installed, if that is the error.
    """

    installed_version: str | None = None


class ConfigurationError(_KindedError):
    """The host did not take the service's configuration, or has another one."""


class ServiceFailedError(_KindedError):
    """The unit does not run as expected; its journal has the reason."""


@contextmanager
def on_host(destination: Destination) -> Iterator[None]:
    """Name the host in an error of the block that names none, as one of a parser of its answers."""
    try:
        yield
    except RemoteError as error:
        error.destination = error.destination or destination
        raise


def fault_of(error: RemoteError) -> Fault:
    """Return the fault that reports `error`; long outputs are cut to their last lines."""
    return Fault(
        kind=error.kind,
        fault_class=error.fault_class,
        summary=str(error),
        attempted=error.attempted,
        host=error.host,
        machine_key=error.machine_key,
        argv=error.argv,
        exit_code=error.exit_code,
        stderr_tail=tail(error.stderr),
        journal_tail=error.journal[-TAIL_LINES:],
        refused=error.rule.is_refusal,
    )


def tail(text: str) -> str:
    """Return the last lines of a command's output."""
    return "\n".join(text.rstrip().splitlines()[-TAIL_LINES:])
