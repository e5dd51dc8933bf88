"""Whether a machine that was made of a base image holds what the contract asks for."""

from activities.image.on_machine import check_machine, violations_in_words
from relight.hosts.shell import Shell
from relight.images.contract_file import ContractFile


class ImagePreflight:
    """Asks machines; changes nothing."""

    def __init__(self, file: ContractFile) -> None:
        """Use a contract; machines of an image that was built to an older one are held to it too.

        What they lack of it, a release may need.
        """
        self._file = file

    async def problem(self, shell: Shell) -> str | None:
        """Return which lines a machine does not hold; None if it holds all that can be seen.

        A machine without the mark of an image, as an adopted one, is held to nothing.

        Raises:
            RemoteError: the check did not come to its end.
        """
        checked = await check_machine(shell, self._file)
        if checked is None or not checked.violations:
            return None
        return (
            f"the image of {shell.destination.machine_key} does not hold its contract: "
            f"{violations_in_words(checked)}. Repair the machine or replace it by one of a newer "
            "image; RELIGHT_IMAGES__PREFLIGHT=false starts rollouts without this check"
        )
