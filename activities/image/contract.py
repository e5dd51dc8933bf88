"""The contract of images, on a new machine: it is held to what its image was built to."""

from datetime import timedelta

from activities import policies
from activities.execution import heartbeating
from relight.domain.image.choice import CheckContractInput
from relight.domain.image.contract import ContractChecked
from relight.engine.step import step
from relight.hosts.connections import Hosts
from relight.hosts.errors import RemoteError, UnreadableAnswerError
from relight.images.check import CheckUnreadableError, check_script, parse_check
from relight.images.contract_file import ContractFile
from relight.images.requirements import Subject
from relight.store.store import Store
from relight.store.threads import in_thread

CHECK_TIMEOUT = timedelta(minutes=1)
MAX_NAMED = 5


class ContractViolatedError(RemoteError):
    """A machine does not hold what the contract of its image says."""

    kind = "image-contract-violated"


class ImageContractActivities:
    """Called before a machine of a published image serves."""

    def __init__(self, store: Store, hosts: Hosts, contract: ContractFile | None) -> None:
        """Check nothing yet.

        Args:
            store: has what an image was built to.
            hosts: opens shells.
            contract: of this control plane; None: there is none.
        """
        self._store = store
        self._hosts = hosts
        self._contract = contract

    @step(policies.PROVE, lambda i: f"{i.machine.key}: {i.image.name}")
    async def check_contract(self, input: CheckContractInput) -> ContractChecked:
        """Check a machine against the contract, if its image was built to the same one."""
        contract = self._contract
        manifest = await in_thread(self._store.images.manifest, input.image.name)
        if contract is None or manifest is None or manifest.contract_sha256 != contract.sha256:
            return ContractChecked(checked=0)
        script = check_script(contract, Subject.MACHINE)
        async with heartbeating(), self._hosts.connect(input.machine) as shell:
            answer = await shell.run(("/bin/sh", "-s"), stdin=script, timeout=CHECK_TIMEOUT)
            try:
                checked = parse_check(contract, Subject.MACHINE, answer.stdout)
            except CheckUnreadableError as error:
                raise UnreadableAnswerError(
                    str(error), destination=shell.destination, attempted="check the contract"
                ) from error
            if checked.violations:
                raise ContractViolatedError(
                    _violated(input, checked),
                    destination=shell.destination,
                    attempted=f"check the contract of image {input.image.name}",
                )
        return checked


def _violated(input: CheckContractInput, checked: ContractChecked) -> str:
    named = "; ".join(map(str, checked.violations[:MAX_NAMED]))
    more = len(checked.violations) - MAX_NAMED
    return f"image {input.image.name} does not hold its contract: {named}" + (
        f"; and {more} more lines" if more > 0 else ""
    )
