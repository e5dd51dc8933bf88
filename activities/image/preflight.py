"""Whether a machine that was made of a base image holds what the contract asks for."""

from datetime import timedelta

from relight.hosts.errors import UnreadableAnswerError
from relight.hosts.shell import Shell, command_failed
from relight.images.check import CheckUnreadableError, check_script, parse_check
from relight.images.contract_file import ContractFile
from relight.images.provision import MARKER
from relight.images.requirements import Subject

TIMEOUT = timedelta(minutes=1)
MAX_NAMED = 5
"""Violated lines in one message."""

NO_IMAGE_EXIT_CODE = 3
"""Exit code of the call on a machine that no image of ours was the base of."""

_CALL = f'test -e "$1" || exit {NO_IMAGE_EXIT_CODE}; exec /bin/sh -s'


class ImagePreflight:
    """Asks machines; changes nothing. It runs as the control plane's user, without sudo."""

    def __init__(self, file: ContractFile) -> None:
        """Use a contract; machines of an image that was built to an older one are held to it too.

        What they lack of it, a release may need.
        """
        self._file = file
        self._script = check_script(file, Subject.MACHINE)

    async def problem(self, shell: Shell) -> str | None:
        """Return which lines a machine does not hold; None if it holds all that can be seen.

        A machine without the mark of an image, as an adopted one, is held to nothing.

        Raises:
            RemoteError: the check did not come to its end.
        """
        argv = ("/bin/sh", "-c", _CALL, "sh", MARKER)
        answer = await shell.run(argv, stdin=self._script, timeout=TIMEOUT, check=False)
        if answer.exit_code == NO_IMAGE_EXIT_CODE:
            return None
        if answer.exit_code != 0:
            raise command_failed(answer, shell.destination, "check the contract of its image")
        try:
            violations = parse_check(self._file, Subject.MACHINE, answer.stdout).violations
        except CheckUnreadableError as error:
            raise UnreadableAnswerError(
                str(error),
                destination=shell.destination,
                attempted="check the contract of its image",
            ) from error
        if not violations:
            return None
        named = "; ".join(map(str, violations[:MAX_NAMED]))
        more = len(violations) - MAX_NAMED
        return (
            f"the image of {shell.destination.machine_key} does not hold its contract: {named}"
            + (f"; and {more} more" if more > 0 else "")
            + ". Repair the machine or replace it by one of a newer image; "
            "RELIGHT_IMAGES__PREFLIGHT=false starts rollouts without this check"
        )
