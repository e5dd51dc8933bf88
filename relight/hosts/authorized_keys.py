"""The keys that a host accepts for the control plane's user, in that user's own file.

No root is needed, and so no new program on hosts: the user that logs in owns the file.
"""

from datetime import timedelta

from relight.hosts.key_files import ClientKey
from relight.hosts.shell import Shell

TIMEOUT = timedelta(seconds=30)

_BEGIN = """\
set -eu
umask 077
file=$HOME/.ssh/authorized_keys
mkdir -p "$HOME/.ssh"
new=$(mktemp "$file.XXXXXXXXXX")
trap 'rm -f "$new"' EXIT
begins_with() {
  while IFS= read -r line; do
    case $line in "$1"*) return 0 ;; esac
  done <"$2"
  return 1
}
"""

# The new file replaces the old one at once: at each moment a login finds one of them complete.
_END = """\
sync "$new"
mv -f "$new" "$file"
"""

ADD = f"""\
{_BEGIN}
[ ! -e "$file" ] || cat "$file" >"$new"
[ -z "$(tail -c 1 "$new")" ] || echo >>"$new"
! begins_with "$1" "$new" || exit 0
printf '%s\\n' "$2" >>"$new"
{_END}"""
"""$1: the public key; $2: the line to add unless a line begins with that key."""

REMOVE = f"""\
{_BEGIN}
begins_with "$2" "$file" || {{ echo "$file does not have the key that is to stay" >&2; exit 3; }}
grep -qF -- "$1" "$file" || exit 0
grep -vF -- "$1" "$file" >"$new"
{_END}"""
"""$1: the public key whose lines are removed; $2: one that must stay."""


async def add_key(shell: Shell, key: ClientKey) -> None:
    """Let a host accept a client key too. Run twice, it changes nothing.

    Raises:
        RemoteError: it failed; the file is as before.
    """
    await shell.run(_call(ADD, key.public, key.line), timeout=TIMEOUT)


async def remove_key(shell: Shell, public: str, staying: ClientKey) -> None:
    """Let a host accept a client key no longer. Run twice, it changes nothing.

    Args:
        shell: on the host.
        public: algorithm and public key of the one to remove.
        staying: another one, which the file must have.

    Raises:
        RemoteError: it failed, or the file lacks `staying`; the file is as before.
    """
    await shell.run(_call(REMOVE, public, staying.public), timeout=TIMEOUT)


def _call(script: str, *words: str) -> list[str]:
    return ["/bin/sh", "-c", script, "relight", *words]
