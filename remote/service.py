"""What the daemon's service has to say."""

from remote import helper
from remote.errors import TAIL_LINES
from remote.look import COMMAND_TIMEOUT
from remote.shell import Shell


async def journal(shell: Shell) -> tuple[str, ...]:
    """Return the daemon's last lines, the oldest first."""
    told = await shell.run(helper.journal(TAIL_LINES), timeout=COMMAND_TIMEOUT, sudo=True)
    return tuple(told.stdout.splitlines())
