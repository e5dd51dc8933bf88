"""What is behind the machines of a fake vendor: nothing, unless a test gives it something."""

from enum import StrEnum


class Power(StrEnum):
    """What a machine does, whatever the vendor says."""

    BOOTING = "booting"
    ON = "on"
    OFF = "off"


class Machines:
    """Machines that are only in the fake's memory: each runs as soon as the fake says so.

    A subclass puts something that really runs behind the fake. It is asked by the vendor's id.
    """

    def create(self, id: str, key: str, region: str, user_data: bytes) -> None:
        """Make a machine.

        Args:
            id: the vendor's.
            key: its label, or name.
            region: the vendor's name of its region.
            user_data: as the machine gets it, after the vendor has decoded it.
        """

    def power(self, id: str) -> Power:
        """Return what a machine does."""
        del id
        return Power.ON

    def address(self, id: str, otherwise: str) -> str:
        """Return a machine's address; `otherwise` if nothing has one."""
        del id
        return otherwise

    def delete(self, id: str) -> None:
        """Begin to delete a machine; one that is not there, or is deleted already, stays so."""

    def is_gone(self, id: str) -> bool:
        """Return whether nothing of a deleted machine is left."""
        del id
        return True
