"""The contract of images, on a new machine: it is held to what its image was built to."""

from activities import policies
from activities.image.on_machine import ATTEMPTED, check_machine, violations_in_words
from relight.domain.image.choice import CheckContractInput
from relight.domain.image.contract import ContractChecked
from relight.engine.step import step
from relight.hosts.connections import Hosts
from relight.hosts.errors import RemoteError
from relight.images.contract_file import ContractFile
from relight.images.provision import MARKER
from relight.store.store import Store
from relight.store.threads import in_thread


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
        contract, name = self._contract, input.image.name
        manifest = await in_thread(self._store.images.manifest, name)
        if contract is None or manifest is None or manifest.contract_sha256 != contract.sha256:
            return ContractChecked(checked=0)
        async with self._hosts.connect(input.machine) as shell:
            checked = await check_machine(shell, contract)
            if checked is None or checked.violations:
                violated = violations_in_words(checked) if checked else f"{MARKER} is absent"
                raise ContractViolatedError(
                    f"image {name} does not hold its contract: {violated}",
                    destination=shell.destination,
                    attempted=ATTEMPTED,
                )
        return checked
