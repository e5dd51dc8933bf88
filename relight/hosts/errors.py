"""What can go wrong on a host or on the way to it, and the fault that each becomes.

Every error says what was attempted, on which machine, with which command, and what came back. What
follows from its kind stands in the table of faults.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from relight.domain.fault.error import DomainError
from relight.domain.fault.fault import Fault, FaultClass


@dataclass(frozen=True)
class Destination:
    """Where a machine's sshd answers, and whom it lets in.

    Attributes:
        address: an IP address or a host name.
        port: of its sshd.
        user: the unprivileged user that one logs in as.
        machine_key: the machine's key, so that every error can name it.
    """

    address: str
    port: int
    user: str
    machine_key: str

    def __str__(self) -> str:
        return f"{self.machine_key} ({self.address})"


TAIL_LINES = 20
"""How much of a command's or a unit's last words a fault carries."""


class RemoteError(DomainError):
    """Something on a host did not go as it should.

    Attributes:
        text: what happened, without where.
        destination: the host, None where none was spoken to.
        attempted: what was being done, as in `install lantern-box=0.0.74`.
        argv: the command that failed, empty where there was none.
        exit_code: its exit code, None where it had none.
        stderr: what it wrote to standard error, or to its journal where that is one.
        journal: the last lines of the unit concerned, oldest first.
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
        self.text = text
        self.destination = destination
        self.attempted = attempted
        self.argv = tuple(argv)
        self.exit_code = exit_code
        self.stderr = stderr
        self.journal = tuple(journal)

    @property
    def host(self) -> str | None:
        """The address that was spoken to."""
        return self.destination.address if self.destination else None

    @property
    def machine_key(self) -> str | None:
        """The machine that it happened on."""
        return self.destination.machine_key if self.destination else None

    def __str__(self) -> str:
        where = str(self.destination) if self.destination else ""
        return ": ".join(part for part in (where, self.attempted, self.text) if part)


class HostUnreachableError(RemoteError):
    """No SSH connection came about."""

    kind = "host-unreachable"


class HostKeyMismatchError(RemoteError):
    """Whoever answers is not the machine that was created: never retried, never accepted."""

    kind = "host-key-mismatch"


class LoginRefusedError(RemoteError):
    """The host does not let the control plane in."""

    kind = "login-refused"


class SudoRefusedError(RemoteError):
    """The host lets the control plane in, and not do as root what it has to."""

    kind = "sudo-refused"


class HostProgramMissingError(RemoteError):
    """The host lacks the program that does as root what is to be done there."""

    kind = "host-program-missing"


class HostNotReadyError(RemoteError):
    """The host is booting or going down, and lets nobody in yet."""

    kind = "host-booting"


class ConnectionLostError(RemoteError):
    """The link broke under a command: whether the command went on is not known."""

    kind = "connection-lost"


class CommandFailedError(RemoteError):
    """A command ended with an exit code other than 0, or was killed by a signal."""

    kind = "command-failed"


class CommandTimeoutError(RemoteError):
    """A command did not end in time."""

    kind = "command-timeout"


class TransactionLostError(RemoteError):
    """The host no longer knows the transaction, as after a reboot: it may be started again."""

    kind = "transaction-lost"


class UnreadableAnswerError(RemoteError):
    """A host answered with something that its tools do not say."""

    kind = "unreadable-answer"


class StaleProcessError(RemoteError):
    """The unit's process runs another file than the installed one."""

    kind = "stale-process"


class ProbeFailedError(RemoteError):
    """The daemon did not answer its health probe as a healthy one does."""

    kind = "probe-failed"


class NobodyListensError(ProbeFailedError):
    """Its port refuses the connection, as one does that the daemon has not opened yet."""


class ProbeNotRunnableError(RemoteError):
    """The health probe is a command, and cannot be run."""

    kind = "probe-not-runnable"


class FirstBootFailedError(RemoteError):
    """cloud-init, or a step of ours in it, failed.

    Attributes:
        step: the step that failed, or `cloud-init` where it was none of ours.
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
        """At whose door the failed step's own fault lies."""
        return self._fault_class


class _KindedError(RemoteError):
    """An error of several kinds."""

    def __init__(  # noqa: PLR0913 - the kind, and all that every remote error says
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
    """apt or dpkg refused, or what they left behind is not what was asked for."""


class ServiceFailedError(_KindedError):
    """The unit does not run as it should; its journal says why."""


def fault_of(error: RemoteError) -> Fault:
    """Return the message that tells of `error`; long outputs are cut to their last lines."""
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
    )


def tail(text: str) -> str:
    """Return the last lines of a command's output."""
    return "\n".join(text.rstrip().splitlines()[-TAIL_LINES:])
