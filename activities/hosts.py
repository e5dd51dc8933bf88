"""How an activity comes to a host."""

from contextlib import AbstractAsyncContextManager
from typing import Protocol

from messages.machine import Machine
from remote.shell import Shell


class Hosts(Protocol):
    """The way to every host of the fleet."""

    def connect(self, machine: Machine) -> AbstractAsyncContextManager[Shell]:
        """Open a shell on the machine, whose host key must be the derived one.

        Raises:
            RemoteError: it cannot be reached, or is not the machine that it should be.
        """
