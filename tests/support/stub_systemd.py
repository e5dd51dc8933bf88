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

_FAIL = """\
if [ -e {folder}/fails-{what} ]; then
  cat {folder}/fails-{what} >&2
  if [ -e {folder}/once-{what} ]; then rm {folder}/fails-{what} {folder}/once-{what}; fi
  exit 1
fi
"""

# As the real one: a block for each unit, in its own order of properties, an empty line between.
# What patterns match comes last.
_SHOW = """\
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
set -f
plain='' patterns=''
for unit; do
  case $unit in
    *'*'*) patterns="$patterns $unit" ;;
    *) plain="$plain $unit" ;;
  esac
done
for unit in $plain $patterns; do
  printf "$between"
  between='\\n'
  file={folder}/unit-$unit
  [ -e "$file" ] || file={folder}/unit-
  while IFS='=' read -r name said; do
    case $name=$said in
      Id=unknown.service) said=$unit ;;
    esac
    case $names in
      *,$name,*) if [ "$value" ]; then echo "$said"; else echo "$name=$said"; fi ;;
    esac
  done <"$file"
done
"""


@dataclass
class StubSystemd:
    """Stands in for systemd on a host; at first the service runs, and nothing has changed."""

    host: AptRoot

    def __post_init__(self) -> None:
        self.folder = self.host.root / "systemd"
        self.folder.mkdir()
        (self.folder / "calls").touch()
        self.set("", Unit())
        self.set(UNIT, running())
        self._put("systemctl", what="$1", then=_SHOW)
        self._put("systemd-run", what="systemd-run")
        shown = '[ "$1" = --sync ] || cat {folder}/journal\n'
        self._put("journalctl", what="journalctl", then=shown)
        self.put_journal("")

    def set(
        self,
        unit: str,
        how: Unit,
        *,
        need_reload: bool = False,
        transient: bool = False,
        **changed: object,
    ) -> None:
        """Say how a unit stands; the one without a name is any that systemd does not know."""
        stands = dataclasses.replace(how, **changed)  # type: ignore[arg-type]
        stands.name = unit.replace("*", "1") or "unknown.service"
        group = self.host.root / f"sys/fs/cgroup/{stands.cgroup}/cgroup.procs"
        group.parent.mkdir(parents=True, exist_ok=True)
        group.write_text(f"{stands.main_pid}\n" if stands.main_pid else "")
        shown = stands.shown()
        shown += f"NeedDaemonReload={'yes' if need_reload else 'no'}\n"
        if transient:
            file = self.host.root / "run/systemd/transient" / unit
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
        (self.folder / f"unit-{unit}").write_text(shown)

    def fail(self, what: str, text: str, *, once: bool = False) -> None:
        """Have a verb of systemctl fail, or `systemd-run`; or only the next call of it."""
        (self.folder / f"fails-{what}").write_text(text)
        if once:
            (self.folder / f"once-{what}").touch()

    def put_journal(self, text: str) -> None:
        """Have journalctl print this, whatever it is asked for."""
        (self.folder / "journal").write_text(text)

    def mend(self, what: str) -> None:
        (self.folder / f"fails-{what}").unlink()

    def calls(self) -> list[list[str]]:
        """Return each call that came so far, and forget it."""
        told = (self.folder / "calls").read_text()
        (self.folder / "calls").write_text("")
        return [call.splitlines() for call in told.split("\n.\n") if call]

    def effects(self) -> list[str]:
        """Return what it was told to do, and not what it was asked."""
        return [shlex.join(call) for call in self.calls() if call[:2] != ["systemctl", "show"]]

    def _put(self, name: str, *, what: str, then: str = "") -> None:
        script = _ACCOUNT + _FAIL + then
        self.host.put_program(name, script.format(folder=self.folder, what=what))
