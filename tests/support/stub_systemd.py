"""A `systemctl`, `systemd-run` and `journalctl` that answer as they are told, and keep account."""

import dataclasses
import shlex
from dataclasses import dataclass

from tests.support.apt_root import UNIT, AptRoot
from tests.support.memory_shell import Unit, running

_ACCOUNT = """\
for word in "$0" "$@"; do printf '%s\\n' "${{word##*/programs/}}"; done >>{folder}/calls
echo . >>{folder}/calls
"""

# As the real one: a block for each unit, in its own order of properties, an empty line between.
_SHOW = """\
if [ -e {folder}/fails-$1 ]; then cat {folder}/fails-$1 >&2; exit 1; fi
[ "$1" = show ] || exit 0
shift
value='' between=''
while [ "$1" != -- ]; do
  case $1 in
    --property=*) names=,${{1#*=}}, ;;
    --value) value=1 ;;
  esac
  shift
done
shift
for unit; do
  printf "$between"
  between='\\n'
  file={folder}/unit-$unit
  [ -e "$file" ] || file={folder}/unit-
  while IFS='=' read -r name said; do
    case $names in
      *,$name,*) if [ "$value" ]; then echo "$said"; else echo "$name=$said"; fi ;;
    esac
  done <"$file"
done
"""


@dataclass
class StubSystemd:
    """What stands in for systemd on a host; at first the daemon runs, and nothing was changed."""

    host: AptRoot

    def __post_init__(self) -> None:
        self.folder = self.host.root / "systemd"
        self.folder.mkdir()
        (self.folder / "calls").touch()
        self.set("", Unit())
        self.set(UNIT, running())
        account = _ACCOUNT.format(folder=self.folder)
        self.host.put_program("systemctl", account + _SHOW.format(folder=self.folder))
        fails = f"if [ -e {self.folder}/fails-NAME ]; then cat {self.folder}/fails-NAME >&2; "
        fails += "exit 1; fi\n"
        for name in ("systemd-run", "journalctl"):
            self.host.put_program(name, account + fails.replace("NAME", name))

    def set(self, unit: str, how: Unit, *, need_reload: bool = False, **changed: object) -> None:
        """Say how a unit stands; the one without a name is any that systemd does not know."""
        shown = dataclasses.replace(how, **changed).shown()  # type: ignore[arg-type]
        shown += f"NeedDaemonReload={'yes' if need_reload else 'no'}\n"
        (self.folder / f"unit-{unit}").write_text(shown)

    def fail(self, what: str, text: str) -> None:
        """Have a verb of systemctl fail, or `systemd-run`."""
        (self.folder / f"fails-{what}").write_text(text)

    def mend(self, what: str) -> None:
        (self.folder / f"fails-{what}").unlink()

    def calls(self) -> list[list[str]]:
        """Return each call that came so far, and forget it."""
        told = (self.folder / "calls").read_text()
        (self.folder / "calls").write_text("")
        return [call.splitlines() for call in told.split("\n.\n") if call]

    def deeds(self) -> list[str]:
        """Return what it was told to do, and not what it was asked."""
        return [shlex.join(call) for call in self.calls() if call[:2] != ["systemctl", "show"]]
