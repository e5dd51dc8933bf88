"""What a check of a machine or a disk against the contract of base images found."""

from pydantic import Field

from relight.domain.base import Message, ShortText


class ContractFinding(Message):
    """A line of the contract, and what was found instead.

    Attributes:
        where: the contract's file and line, as in `contract.yaml:17`.
        section: of the contract, as in `packages` or `absent.units`.
        text: what is wrong, as in `wireguard-tools is not installed`.
    """

    where: str
    section: str
    text: ShortText

    def __str__(self) -> str:
        return f"{self.where} {self.section}: {self.text}"


class ContractChecked(Message):
    """The result of a check.

    Attributes:
        violations: the lines that do not hold, in the order of the contract.
        unseen: the lines that the account of the check may not see; nothing is known about them.
        checked: how many requirements were checked, with those of both kinds.
    """

    violations: tuple[ContractFinding, ...] = ()
    unseen: tuple[ContractFinding, ...] = ()
    checked: int = Field(ge=0)
