"""The contract of images, on a machine: the check's call and its answer, over a shell."""

from datetime import timedelta

from relight.domain.image.contract import ContractChecked
from relight.hosts.errors import UnreadableAnswerError
from relight.hosts.shell import Shell, command_failed
from relight.images.check import CheckUnreadableError, check_script, parse_check
from relight.images.contract_file import ContractFile
from relight.images.provision import MARKER
from relight.images.requirements import Subject

TIMEOUT = timedelta(minutes=1)
ATTEMPTED = "check the contract of its image"
MAX_NAMED = 5
"""Violated lines in one message."""

NO_IMAGE_EXIT_CODE = 3
"""Exit code of the call on a machine that no image of ours was the base of."""

_CALL = f'test -e "$1" || exit {NO_IMAGE_EXIT_CODE}; exec /bin/sh -s'


async def check_machine(shell: Shell, contract: ContractFile) -> ContractChecked | None:
    """Hold a machine to a contract. It runs as the control plane's user, and changes nothing.

    Returns:
        What does not hold, and what only root could see; None: the machine has no mark of an
        image, as an adopted one.

    Raises:
        RemoteError: the check did not come to its end.
    """
    script = check_script(contract, Subject.MACHINE)
    argv = ("/bin/sh", "-c", _CALL, "sh", MARKER)
    answer = await shell.run(argv, stdin=script, timeout=TIMEOUT, check=False)
    if answer.exit_code == NO_IMAGE_EXIT_CODE:
        return None
    if answer.exit_code != 0:
        raise command_failed(answer, shell.destination, ATTEMPTED)
    try:
        return parse_check(contract, Subject.MACHINE, answer.stdout)
    except CheckUnreadableError as error:
        raise UnreadableAnswerError(
            str(error), destination=shell.destination, attempted=ATTEMPTED
        ) from error


def violations_in_words(checked: ContractChecked) -> str:
    """Return the first violated lines, and how many more there are."""
    named = "; ".join(map(str, checked.violations[:MAX_NAMED]))
    more = len(checked.violations) - MAX_NAMED
    return named + (f"; and {more} more" if more > 0 else "")
