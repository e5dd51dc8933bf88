"""Rules of the faults that occur on a host, of the classes host, release and controller."""

from collections.abc import Mapping

from relight.domain.fault.fault import FaultClass
from relight.domain.fault.rule import Remedy, Rule

HOST, RELEASE, CONTROLLER = FaultClass.HOST, FaultClass.RELEASE, FaultClass.CONTROLLER

HOST_RULES: Mapping[str, Rule] = {
    # Connection.
    "host-unreachable": Rule(
        HOST,
        True,
        Remedy.REPLACE,
        "No SSH connection: the host is off, has no network, or its sshd does not run.",
        "Check the machine at its provider; `relight route replace ROUTE --unreachable` gives "
        "the route another. If many hosts report this at once, check the network.",
    ),
    "host-booting": Rule(
        HOST,
        True,
        Remedy.REPLACE,
        "The host is booting or shutting down and accepts no login yet.",
        "Wait. If it stays so, its boot hangs: read its console at the provider, then `relight "
        "route replace ROUTE --unreachable`.",
    ),
    "host-key-mismatch": Rule(
        HOST,
        False,
        Remedy.ASK,
        "The SSH host key is not the one that was derived for this machine.",
        "Treat it as a foreign machine until its identity is clear: nothing was sent to it. "
        "`relight route show ROUTE` shows its address. `relight route replace ROUTE "
        "--unreachable` gives the route another machine.",
        locks_out=True,
    ),
    "ssh-algorithms-differ": Rule(
        HOST,
        False,
        Remedy.ASK,
        "The host's sshd allows no key exchange, cipher or MAC that the control plane offers.",
        "The message has both lists. Allow one more in KexAlgorithms, Ciphers or MACs of the "
        "host's sshd, and reload it; then `relight route verify ROUTE`. `relight route replace "
        "ROUTE --unreachable` helps only if other machines do not have the same settings.",
        locks_out=True,
    ),
    "login-refused": Rule(
        HOST,
        False,
        Remedy.REPLACE,
        "The host key is right, but the host refuses the control plane's login.",
        "Its authorized keys or its user were changed, or the control plane's client key was. "
        "If only this host refuses: `relight route replace ROUTE --unreachable`.",
        locks_out=True,
    ),
    "sudo-refused": Rule(
        HOST,
        False,
        Remedy.REPLACE,
        "The control plane's user may not run what it needs as root.",
        "Its sudo rules were changed (see /etc/sudoers.d on the host, also for `requiretty`), or "
        "sudo was removed or replaced. "
        "Repair them, or `relight route replace ROUTE`.",
        locks_out=True,
    ),
    "host-program-missing": Rule(
        HOST,
        False,
        Remedy.REPLACE,
        "The host lacks /usr/local/sbin/relight-host, the program that does all work as root.",
        "It is installed at first boot only: it was removed, or the host was set up "
        "differently. `relight route replace ROUTE` gives the route a machine that has it.",
        locks_out=True,
    ),
    "host-key-not-changed": Rule(
        HOST,
        False,
        Remedy.ASK,
        "The host did not take its new SSH host key in a rotation. It shows the one from before.",
        "The message has the reason. `relight keys rotate host-secret` tries again; or `relight "
        "route replace ROUTE` gives the route a machine with the new key.",
    ),
    "host-settings-not-changed": Rule(
        HOST,
        False,
        Remedy.ASK,
        "The host did not take its settings: package, unit, apt source or the source's keys.",
        "The message has the reason. It keeps those from before. `relight route swap ROUTE TAG` "
        "tries again; `relight route replace ROUTE` gives the route a machine that has them.",
    ),
    "host-settings-differ": Rule(
        HOST,
        False,
        Remedy.REPAIR,
        "The host has other settings than declared: its program, package, unit, source or keys.",
        "The route serves all the same. `relight reconcile` writes them, within the budget, and "
        "changes no package. Expected after an upgrade of Relight or a change of its settings.",
    ),
    "old-key-accepted": Rule(
        HOST,
        False,
        Remedy.ASK,
        "The host still accepts the old client key, which was taken from its user's "
        "authorized_keys.",
        "Another file of the host has it: see AuthorizedKeysFile and AuthorizedKeysCommand in its "
        "sshd's configuration. `relight keys rotate client` tries again; or `relight route replace "
        "ROUTE` gives the route a machine that has the new key only.",
    ),
    "connection-lost": Rule(
        HOST,
        True,
        Remedy.REPAIR,
        "The connection broke during a command. A package transaction continues without it.",
        "Nothing for a single case: the next attempt finds the result on the host.",
    ),
    "command-failed": Rule(
        HOST,
        False,
        Remedy.ASK,
        "A command failed that should never fail.",
        "Read its output, which `relight route show ROUTE` has: this host differs from the "
        "others. `relight route replace ROUTE` gives the route another.",
    ),
    "command-timeout": Rule(
        HOST,
        True,
        Remedy.REPLACE,
        "A short command did not end: the host hangs, or lacks memory or disk throughput.",
        "Check its load, memory and disk. `relight route replace ROUTE` gives the route another "
        "machine.",
    ),
    "unreadable-answer": Rule(
        HOST,
        False,
        Remedy.ASK,
        "A tool on the host printed output in an unknown format.",
        "Check which Debian release the host runs, and report the output as a bug: `relight "
        "route show ROUTE` has it. `relight route replace ROUTE` gives the route another machine.",
    ),
    "host-misbehaves": Rule(
        HOST,
        False,
        Remedy.ASK,
        "The host sends more than any command prints, never comes to an end, or breaks the "
        "protocol. Reading was stopped at the limit.",
        "Treat the machine as one that others control, until it is clear why: read its logs at the "
        "provider's console. `relight route replace ROUTE` gives the route another machine.",
    ),
    "host-rebooted": Rule(
        HOST,
        True,
        Remedy.REPAIR,
        "The host rebooted during an operation.",
        "Nothing: the next attempt repairs what the reboot interrupted. Find out why it rebooted.",
    ),
    "transaction-lost": Rule(
        HOST,
        True,
        Remedy.REPAIR,
        "The host no longer knows the unit that ran the package transaction.",
        "Nothing: the transaction runs again and repairs what it finds.",
    ),
    # First boot.
    "first-boot-failed": Rule(
        HOST,
        False,
        Remedy.REPLACE,
        "cloud-init or one of our first-boot steps failed. The class is that of the step's fault.",
        "Read the step's output. The machine is destroyed; `relight route provision ROUTE "
        "--track TRACK --region REGION` starts again.",
    ),
    # The service.
    "unit-failed": Rule(
        RELEASE,
        False,
        Remedy.ROLL_BACK,
        "The service did not start, or it failed.",
        "Read its last log lines. `relight route rollback ROUTE` goes back to the last proven one.",
    ),
    "unit-crash-looping": Rule(
        RELEASE,
        False,
        Remedy.ROLL_BACK,
        "The service exits again and again, and systemd restarts it each time.",
        "Read its last log lines. `relight route rollback ROUTE` goes back to the last proven one.",
    ),
    "unit-not-active": Rule(
        RELEASE,
        False,
        Remedy.ROLL_BACK,
        "The service is not active, but did not fail.",
        "Run `systemctl status` on the host: a person may have stopped it. `relight route "
        "rollback ROUTE` goes back to the last proven release.",
    ),
    "unit-condition-unmet": Rule(
        RELEASE,
        False,
        Remedy.ROLL_BACK,
        "The service was not started: the host lacks what a condition of its unit asks for.",
        "Give the hosts what the condition names, by the service's `files` or `packages`, or take "
        "it back by a drop-in among the `files` (an empty `ConditionPathExists=`). `relight route "
        "rollback ROUTE` goes back to the last proven release.",
    ),
    "unit-not-found": Rule(
        RELEASE,
        False,
        Remedy.ROLL_BACK,
        "The package contains no unit of the configured name.",
        "Check RELIGHT_SERVICE__UNIT and the content of the package. `relight route rollback "
        "ROUTE` goes back to the last proven release.",
    ),
    "unit-disabled": Rule(
        HOST,
        False,
        Remedy.REPAIR,
        "The service runs, but would not start at the next boot.",
        "It was disabled on the host. `relight reconcile` enables it again.",
    ),
    "unit-masked": Rule(
        HOST,
        False,
        Remedy.ASK,
        "The service is masked on the host (`systemctl mask`), so it cannot start.",
        "Find out who masked it and why. Relight never overrides it: `systemctl unmask` on the "
        "host ends it, then `relight route swap ROUTE TAG`.",
    ),
    "unit-restarted": Rule(
        HOST,
        True,
        Remedy.REPAIR,
        "The service was restarted from outside during its proof.",
        "Nothing for a single case: it is proven again.",
    ),
    "stale-process": Rule(
        HOST,
        False,
        Remedy.REPAIR,
        "A process of the service does not run the installed release.",
        "It was not restarted after the package changed, or runs another program. `relight "
        "reconcile` swaps the route again.",
    ),
    "probe-failed": Rule(
        RELEASE,
        False,
        Remedy.ROLL_BACK,
        "The service runs, but its health probe does not pass.",
        "The message has the probe's answer. If all hosts report this at once, check firewalls. "
        "`relight route rollback ROUTE` goes back to the last proven release.",
    ),
    "probe-not-runnable": Rule(
        CONTROLLER,
        False,
        Remedy.ASK,
        "The control plane cannot run the command of the health probe.",
        "Set RELIGHT_SERVICE__PROBE_COMMAND to a command that the worker can run, and restart "
        "`relight worker`. No host is to blame.",
    ),
}
"""The rule of each kind."""
