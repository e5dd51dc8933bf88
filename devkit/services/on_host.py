"""What a machine tells about a service after a change, read without Relight's own program."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from devkit.installation import run_inside

# It runs on the machine. Times are in seconds since boot, as those of processes are.
_PROGRAM = r"""
import glob, json, os, subprocess, sys, time
package, *units = sys.argv[1:]
NO_SESSION = "4294967295" # the others are of people

def told(*argv):
    return subprocess.run(argv, capture_output=True, text=True).stdout.strip()

def processes(group):
    for folder, _, _ in os.walk("/sys/fs/cgroup" + group):
        try:
            yield from open(folder + "/cgroup.procs").read().split()
        except OSError:
            pass

booted = time.time() - float(open("/proc/uptime").read().split()[0])
info = f"/var/lib/dpkg/info/{package}"
lists = glob.glob(info + ".list") + glob.glob(info + ":*.list")
unpacked = os.stat(lists[0]).st_mtime - booted if lists else 0
answer = {"unpacked": unpacked, "units": {}, "processes": [], "versions": {}}
shown = "--property=Id,Type,MainPID,ControlGroup,ActiveState,SubState"
shown += ",ExecMainStartTimestampMonotonic"
for block in told("systemctl", "show", shown, "--", *units).split("\n\n"):
    unit = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
    started = int(unit.get("ExecMainStartTimestampMonotonic") or 0) / 1e6
    state = f"{unit['ActiveState']} ({unit['SubState']})"
    answer["units"][unit["Id"]] = {"state": state, "type": unit.get("Type", ""), "started": started}
    for pid in processes(unit["ControlGroup"]) if unit.get("ControlGroup") else ():
        try:
            file = os.readlink(f"/proc/{pid}/exe")
            session = open(f"/proc/{pid}/sessionid").read()
            stat = open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()
        except OSError:
            continue
        if session != NO_SESSION and pid != unit["MainPID"]:
            continue
        started = int(stat[19]) / os.sysconf("SC_CLK_TCK")
        answer["processes"].append({"unit": unit["Id"], "file": file, "started": started})
owners = {}
for file in {each["file"] for each in answer["processes"]}:
    for path in (file, file.removeprefix("/usr")):
        owners[file] = owners.get(file) or told("dpkg-query", "--search", path).partition(":")[0]
for each in answer["processes"]:
    each["package"] = owners[each["file"]]
for name in {package, *owners.values()} - {""}:
    answer["versions"][name] = told("dpkg-query", "-Wf", "${db:Status-Abbrev}${Version}", name)
print(json.dumps(answer))
"""

_MARGIN_SECONDS = 0.1
"""A file's time is that of a clock tick, which may be that much too early."""


class HostProcess(BaseModel):
    """A process of one of the units.

    Attributes:
        unit: its name.
        file: that the process executes, as the kernel names it.
        started: in seconds since boot.
        package: that has the file; empty if none has.
    """

    model_config = ConfigDict(frozen=True)

    unit: str
    file: str
    started: float
    package: str


class HostUnit(BaseModel):
    """A unit: its state as in `active (running)`, and the start of its main process since boot."""

    model_config = ConfigDict(frozen=True)

    state: str
    type: str
    started: float


class HostState(BaseModel):
    """What a machine runs.

    Attributes:
        unpacked: when dpkg last wrote the package's list of files, in seconds since boot.
        units: by name.
        processes: of all units.
        versions: dpkg's state and version, as in `ii 1.0`, of the package and of each package with
            a file that a process executes.
    """

    model_config = ConfigDict(frozen=True)

    unpacked: float
    units: Mapping[str, HostUnit]
    processes: Sequence[HostProcess]
    versions: Mapping[str, str]


async def read_host(
    lab_state: Path, machine_id: str, package: str, units: Sequence[str]
) -> HostState:
    """Ask a machine what it runs.

    Raises:
        ScriptError: the machine could not answer.
    """
    arguments = (_PROGRAM, package, *units)
    text = await run_inside(lab_state, machine_id, 'exec python3 -c "$@"', *arguments)
    return HostState.model_validate(json.loads(text))


def problems(state: HostState, expected: Mapping[str, str]) -> list[str]:
    """Return why a machine does not run a release; none if it does.

    Args:
        state: of the machine.
        expected: the versions of the release's packages, by their names.
    """
    found = [
        f"{name} is `{state.versions[name]}`, not `ii {version}`"
        for name, version in expected.items()
        if name in state.versions and state.versions[name] != f"ii {version}"
    ]
    since = state.unpacked - _MARGIN_SECONDS
    for process in state.processes:
        if process.file.endswith(" (deleted)"):
            found.append(f"{process.file} of {process.unit} is an old file")
        # One that executed its new file itself, on a reload, keeps its start.
        elif process.started < since and process.package not in expected:
            found.append(f"{process.file} of {process.unit} started before the change")
    at_rest = [
        name
        for name, unit in state.units.items()
        if unit.state == "active (exited)" or name.endswith(".socket")
    ]
    found += [
        f"{name} ran before the change"
        for name in at_rest
        if not name.endswith(".socket") and state.units[name].started < since
    ]
    if not state.processes and not at_rest:
        found.append("nothing runs")
    return found
