"""Which host is meant."""

from dataclasses import dataclass


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
