"""Ways to keep an old process running after a change of its package, and the packages for them.

Each mutation is tried on a machine: the right swap of its package must be proven, and after the
mutation the same observation must tell that something old runs.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

NAME = "mutant"
PROGRAM, LIBRARY, SCRIPT = (
    "/usr/lib/mutant/program",
    "/usr/lib/mutant/libmutant.so",
    "/usr/lib/mutant/app",
)
"""Of these, `@program`, `@linked` and `@library` are built from C."""

UNIT = "/lib/systemd/system/mutant.service"
DROP_IN = "/run/systemd/system/mutant.service.d/mutation.conf"

_PYTHON = "import time\nversion = '@version'\nwhile True:\n    time.sleep(60)\n"
_PERL = "#!/usr/bin/perl\nmy $version = '@version';\nsleep 60 while 1;\n"

_SUPERVISOR = (
    "import subprocess\nversion = '@version'\n"
    f"program = open('/run/mutant.env').read().strip() or '{PROGRAM}'\n"
    "subprocess.run([program])\n"
)

# Neither a log nor a configuration file is a script.
_JAVA = "/usr/lib/mutant/java -Xlog:gc:/run/mutant.env -x /etc/hostname"

_INSTALL = "dpkg --install /run/new.deb"
_RESTART = "systemctl daemon-reload; systemctl restart mutant.service"
_OLD_RUNS = (
    "until readlink /proc/$(systemctl show --property=MainPID --value mutant.service)/exe"
    " | grep -qx /run/old; do sleep 0.1; done"
)
"""A start ends before systemd's child has become the program."""


def service(*lines: str) -> str:
    """Return a unit whose section of the service has these lines."""
    text = "\n".join(lines)
    return f"[Service]\n{text}\n[Install]\nWantedBy=multi-user.target\n"


def drop_in(*lines: str) -> str:
    """Return a script that adds a drop-in to the unit."""
    text = "\\n".join(("[Service]", *lines, ""))
    return f"mkdir -p {DROP_IN.rpartition('/')[0]}; printf '{text}' >{DROP_IN}"


NATIVE = {PROGRAM: "@program", UNIT: service(f"ExecStart={PROGRAM}")}
WORKERS = {
    PROGRAM: "@program",
    UNIT: service(f"ExecStart={PROGRAM} workers", "ExecReload=/bin/kill -HUP $MAINPID"),
}
PYTHON = {SCRIPT: _PYTHON, UNIT: service(f"ExecStart=/usr/bin/python3 {SCRIPT}")}
WRAPPER = {
    PROGRAM: "@program",
    SCRIPT: "#!/bin/sh\n. /run/mutant.env\nexec ${PROGRAM:-" + PROGRAM + "}\n",
    UNIT: service(f"ExecStart={SCRIPT}"),
}
SHELL = {**WRAPPER, SCRIPT: WRAPPER[SCRIPT].replace("exec ", "") + "wait\n"}

# What runs in the session of somebody who has logged in, as the kernel sees it.
LOGIN = "echo 0 >/proc/self/loginuid;"

_KEEP_WORKER = (
    f"{drop_in('KillMode=process')}; systemctl daemon-reload; {_INSTALL}; "
    "systemctl restart mutant.service"
)
_ESCAPE = (
    "mkdir -p /sys/fs/cgroup/system.slice/elsewhere; worker=$(pgrep --oldest --parent "
    "$(systemctl show --property=MainPID --value mutant.service)); "
    "echo $worker >/sys/fs/cgroup/system.slice/elsewhere/cgroup.procs; "
    f"{_INSTALL}; {_RESTART}"
)
_END_ESCAPED = (
    "xargs -r kill -9 </sys/fs/cgroup/system.slice/elsewhere/cgroup.procs; "
    "until rmdir /sys/fs/cgroup/system.slice/elsewhere; do sleep 0.02; done"
)


@dataclass(frozen=True)
class Mutation:
    """One way to keep an old process.

    Attributes:
        files: of the package, by path; `@version` in them is the package's version.
        keep: a script that installs /run/new.deb and keeps something old running.
        stale: what the observation says, in part.
        undo: a script that takes back what `keep` changed on the machine.
        settings: of the service, other than package and unit.
    """

    files: Mapping[str, str]
    keep: str
    stale: str
    undo: str = ":"
    settings: Mapping[str, object] = field(default_factory=dict)


MUTATIONS = {
    "a native process is not restarted": Mutation(
        NATIVE, _INSTALL, f"runs the old {PROGRAM} (deleted)"
    ),
    "a Python process is not restarted": Mutation(PYTHON, _INSTALL, "started before the change"),
    "a Perl process is not restarted": Mutation(
        {SCRIPT: _PERL, UNIT: service(f"ExecStart={SCRIPT}")}, _INSTALL, "started before the change"
    ),
    "an archive's process is not restarted": Mutation(
        {f"{SCRIPT}.py": _PYTHON, UNIT: service(f"ExecStart=/usr/bin/python3 -u {SCRIPT}.py")},
        _INSTALL,
        "started before the change",
    ),
    "a wrapper that executes is not restarted": Mutation(WRAPPER, _INSTALL, "runs the old"),
    "a wrapper that waits is not restarted": Mutation(SHELL, _INSTALL, "runs the old"),
    "the child alone of a wrapper is not restarted": Mutation(
        SHELL, _KEEP_WORKER, "runs the old", undo=f"rm -r {DROP_IN.rpartition('/')[0]}"
    ),
    "one worker is left": Mutation(
        WORKERS, _KEEP_WORKER, "runs the old", undo=f"rm -r {DROP_IN.rpartition('/')[0]}"
    ),
    "one Python worker is left": Mutation(
        {
            **PYTHON,
            SCRIPT: f"import os\nos.fork()\n{_PYTHON}",
        },
        _KEEP_WORKER,
        "started before the change",
        undo=f"rm -r {DROP_IN.rpartition('/')[0]}",
    ),
    "a worker of a service with a session of its own is left": Mutation(
        {**WORKERS, UNIT: service(f"ExecStart=/bin/sh -c '{LOGIN} exec {PROGRAM} workers'")},
        _KEEP_WORKER,
        "runs the old",
        undo=f"rm -r {DROP_IN.rpartition('/')[0]}",
    ),
    "a worker in a group below is left": Mutation(
        {**WORKERS, UNIT: service(f"ExecStart={PROGRAM} workers", "Delegate=yes")},
        "group=/sys/fs/cgroup/system.slice/mutant.service; "
        "main=$(systemctl show --property=MainPID --value mutant.service); "
        "mkdir $group/worker; pgrep --parent $main >$group/worker/cgroup.procs; " + _KEEP_WORKER,
        "runs the old",
        undo=f"rm -r {DROP_IN.rpartition('/')[0]}",
    ),
    "a worker is in another group": Mutation(WORKERS, _ESCAPE, "which left it", undo=_END_ESCAPED),
    "a Python worker is in another group": Mutation(
        {**PYTHON, SCRIPT: f"import os\nos.fork()\n{_PYTHON}"},
        _ESCAPE,
        "which left it",
        undo=_END_ESCAPED,
    ),
    "an old program runs under another name": Mutation(
        NATIVE,
        f"cp {PROGRAM} {PROGRAM}.old; {_INSTALL}; "
        f"{drop_in('ExecStart=', f'ExecStart={PROGRAM}.old')}; {_RESTART}",
        f"runs {PROGRAM}.old, which no package contains",
        undo=f"rm -r {PROGRAM}.old {DROP_IN.rpartition('/')[0]}",
    ),
    "an old program runs and is deleted": Mutation(
        NATIVE,
        f"cp {PROGRAM} /run/old; {_INSTALL}; "
        f"{drop_in('ExecStart=', 'ExecStart=/run/old')}; {_RESTART}; {_OLD_RUNS}; rm /run/old",
        "runs /run/old (deleted), which no package contains",
        undo=f"rm -r {DROP_IN.rpartition('/')[0]}",
    ),
    "an old script runs from elsewhere": Mutation(
        PYTHON,
        f"cp {SCRIPT} /run/old.py; {_INSTALL}; "
        f"{drop_in('ExecStart=', 'ExecStart=/usr/bin/python3 -u /run/old.py')}; {_RESTART}",
        "runs /run/old.py, which no package contains",
        undo=f"rm -r {DROP_IN.rpartition('/')[0]} /run/old.py",
    ),
    "a wrapper executes the old program": Mutation(
        WRAPPER,
        f"cp {PROGRAM} /run/old; echo PROGRAM=/run/old >/run/mutant.env; {_INSTALL}; {_RESTART}",
        "runs /run/old, which no package contains",
        undo="rm /run/old; : >/run/mutant.env",
    ),
    "a wrapper starts the old program": Mutation(
        SHELL,
        f"cp {PROGRAM} /run/old; echo PROGRAM=/run/old >/run/mutant.env; {_INSTALL}; {_RESTART}",
        "runs /run/old, which no package contains",
        undo="rm /run/old; : >/run/mutant.env",
    ),
    "a supervisor starts the old program": Mutation(
        {
            PROGRAM: "@program",
            SCRIPT: _SUPERVISOR,
            UNIT: service(f"ExecStart=/usr/bin/python3 {SCRIPT}"),
        },
        f"mkdir /run/copy; cp {PROGRAM} /run/copy; echo /run/copy/program >/run/mutant.env; "
        f"{_INSTALL}; {_RESTART}",
        "runs /run/copy/program, which no package contains",
        undo="rm -r /run/copy; : >/run/mutant.env",
    ),
    "an old archive is in Java's class path": Mutation(
        {
            # No Java: a program that sleeps under its name, with its arguments.
            "/usr/lib/mutant/java": "@program",
            "/usr/lib/mutant/app.jar": "of @version",
            UNIT: service(f"ExecStart={_JAVA} -cp /usr/lib/mutant/app.jar:/x.jar Main"),
        },
        f"cp /usr/lib/mutant/app.jar /run/app.jar; {_INSTALL}; "
        + drop_in("ExecStart=", f"ExecStart={_JAVA} -cp /run/app.jar:/x.jar Main")
        + f"; {_RESTART}",
        "runs /run/app.jar, which no package contains",
        undo=f"rm -r {DROP_IN.rpartition('/')[0]} /run/app.jar",
    ),
    "a library is not loaded again": Mutation(
        {
            LIBRARY: "@library",
            UNIT: service(
                'ExecStart=/usr/bin/python3 -c "import ctypes, time; '
                f"ctypes.CDLL('{LIBRARY}'); time.sleep(1000000)\""
            ),
        },
        _INSTALL,
        "started before the change",
    ),
    "a new process has the old library": Mutation(
        {PROGRAM: "@linked", LIBRARY: "@library", UNIT: service(f"ExecStart={PROGRAM}")},
        f"mkdir /run/libraries; cp {LIBRARY} /run/libraries; {_INSTALL}; "
        f"{drop_in('Environment=LD_LIBRARY_PATH=/run/libraries')}; {_RESTART}",
        "has mapped /run/libraries/libmutant.so, which no package contains",
        undo=f"rm -r {DROP_IN.rpartition('/')[0]} /run/libraries",
    ),
    "a reload does nothing": Mutation(
        {**WORKERS, UNIT: WORKERS[UNIT].replace("/bin/kill -HUP $MAINPID", "/bin/true")},
        f"{_INSTALL}; relight-host serve",
        "runs the old",
        undo="systemctl restart mutant.service",
        settings={"on_change": "reload"},
    ),
    "a reload leaves a worker": Mutation(
        WORKERS,
        "systemctl kill --kill-whom=main --signal=STOP mutant.service; "
        f"{_INSTALL}; systemctl kill --kill-whom=main --signal=CONT mutant.service",
        "runs the old",
        settings={"on_change": "reload"},
    ),
    "a socket hands over to the old process": Mutation(
        {
            **PYTHON,
            "/lib/systemd/system/mutant.socket": (
                "[Socket]\nListenStream=127.0.0.1:7007\n[Install]\nWantedBy=sockets.target\n"
            ),
        },
        _INSTALL,
        "started before the change",
        settings={"more_units": ("mutant.socket",)},
    ),
    "one instance is not restarted": Mutation(
        {
            PROGRAM: "@program",
            "/lib/systemd/system/mutant@.service": service(f"ExecStart={PROGRAM}"),
        },
        f"{_INSTALL}; systemctl restart mutant@1.service",
        "mutant@2.service has process",
        settings={"unit": "mutant@*.service", "start": "mutant@1.service mutant@2.service"},
    ),
    "a second unit is not restarted": Mutation(
        {**NATIVE, "/lib/systemd/system/mutant-2.service": NATIVE[UNIT]},
        f"{_INSTALL}; {_RESTART}",
        "mutant-2.service has process",
        settings={"more_units": ("mutant-2.service",)},
    ),
    "a oneshot does not run again": Mutation(
        {
            SCRIPT: "#!/bin/sh\ntrue @version\n",
            UNIT: service("Type=oneshot", "RemainAfterExit=yes", f"ExecStart={SCRIPT}"),
        },
        _INSTALL,
        "ran before the change",
    ),
    "a forking service with a PID file is not restarted": Mutation(
        {
            PROGRAM: "@program",
            UNIT: service(
                "Type=forking",
                "PIDFile=/run/mutant.pid",
                f"ExecStart={PROGRAM} background /run/mutant.pid",
            ),
        },
        _INSTALL,
        "runs the old",
    ),
    "a forking service without a PID file is not restarted": Mutation(
        {
            PROGRAM: "@program",
            UNIT: service("Type=forking", f"ExecStart={PROGRAM} workers background /dev/null"),
        },
        _INSTALL,
        "runs the old",
    ),
    "a System V service is not restarted": Mutation(
        {
            PROGRAM: "@program",
            "/etc/init.d/mutant": (
                "#!/bin/sh\n### BEGIN INIT INFO\n# Provides: mutant\n# Required-Start:\n"
                "# Required-Stop:\n# Default-Start: 2 3 4 5\n# Default-Stop: 0 1 6\n"
                "# Short-Description: mutant\n### END INIT INFO\ncase $1 in\n"
                f"start) {PROGRAM} background /run/mutant.pid ;;\n"
                "stop) kill $(cat /run/mutant.pid) ;;\nesac\n"
            ),
        },
        _INSTALL,
        "runs the old",
    ),
    "a notifying script is not restarted": Mutation(
        {
            SCRIPT: "#!/bin/sh\nsystemd-notify --ready\nwhile :; do sleep 60; done # @version\n",
            UNIT: service("Type=notify", "NotifyAccess=all", f"ExecStart={SCRIPT}"),
        },
        _INSTALL,
        "started before the change",
    ),
}
