"""Rules of the faults of apt and dpkg on a host, of the classes host, release and controller."""

from collections.abc import Mapping

from relight.domain.fault.fault import FaultClass
from relight.domain.fault.rule import Remedy, Rule

HOST, RELEASE, CONTROLLER = FaultClass.HOST, FaultClass.RELEASE, FaultClass.CONTROLLER

PACKAGE_RULES: Mapping[str, Rule] = {
    "dpkg-lock-held": Rule(
        HOST,
        True,
        Remedy.ASK,
        "Another program has been changing packages on the host for unusually long.",
        "The message names the process that holds the lock. Never delete the lock file. Once "
        "the process has ended: `relight route swap ROUTE TAG`.",
    ),
    "lists-lock-held": Rule(
        HOST,
        True,
        Remedy.ASK,
        "Another apt is refreshing its package lists on the host.",
        "The message names the process that holds the lock. Unattended upgrades end by "
        "themselves; then `relight route swap ROUTE TAG`.",
    ),
    "dpkg-interrupted": Rule(
        HOST,
        True,
        Remedy.REPAIR,
        "dpkg was killed, or the host lost power, during a package change.",
        "Nothing: the next attempt runs `dpkg --configure -a` and installs again.",
    ),
    "disk-full": Rule(
        HOST,
        False,
        Remedy.ASK,
        "The host has no disk space for the package or for dpkg's own records.",
        "Free space in /var or /usr on the host, then `relight route swap ROUTE TAG`.",
    ),
    "packages-held": Rule(
        HOST,
        False,
        Remedy.ASK,
        "The package is held on this host on purpose (`apt-mark hold`).",
        "Find out who held it and why. Relight never overrides it: `apt-mark unhold` on the "
        "host ends it, then `relight route swap ROUTE TAG`.",
    ),
    "host-sources-failed": Rule(
        HOST,
        True,
        Remedy.ASK,
        "The host cannot refresh its own apt sources, or download a dependency from them.",
        "The message has the source's address: check it on the host with `apt-get update`. "
        "Relight's repository is not to blame. Then `relight route swap ROUTE TAG`.",
    ),
    "host-proxy-failed": Rule(
        HOST,
        True,
        Remedy.ASK,
        "The proxy that the host's apt uses does not answer, or refuses.",
        "See Acquire::http::Proxy in `apt-config dump` on the host. Then `relight route swap "
        "ROUTE TAG`.",
    ),
    "host-policy-refuses": Rule(
        HOST,
        False,
        Remedy.ASK,
        "The apt preferences of this host (pins) forbid a package that the release needs.",
        "See /etc/apt/preferences.d on the host: Relight never overrides them. Once they allow "
        "it: `relight route swap ROUTE TAG`.",
    ),
    "host-hook-failed": Rule(
        HOST,
        False,
        Remedy.ASK,
        "A hook of another program failed before or after the change, as apt's Post-Invoke.",
        "The message names the hook: see /etc/apt/apt.conf.d and /etc/dpkg/dpkg.cfg.d on the "
        "host. If dpkg had completed the change, the service runs the new release. Then `relight "
        "route swap ROUTE TAG`.",
    ),
    "package-not-installed": Rule(
        HOST,
        False,
        Remedy.REPAIR,
        "A package of the service is removed, or only unpacked or half-configured.",
        "`relight reconcile` swaps the route again, as each reconcile run does: a swap begins "
        "with a repair.",
    ),
    "package-version-differs": Rule(
        HOST,
        False,
        Remedy.REPAIR,
        "dpkg has another version than the one that was installed.",
        "Something else changes packages on this host: read /var/log/dpkg.log. `relight "
        "reconcile` repairs it.",
    ),
    "package-content-differs": Rule(
        HOST,
        False,
        Remedy.REPAIR,
        "The host has the right version of the package with other content: the .deb that was "
        "installed has another SHA-256 than the release.",
        "The version was built again, or something else installed it. `relight reconcile` installs "
        "the release's own file; `relight release show TAG` has its digest.",
    ),
    "package-damaged": Rule(
        HOST,
        False,
        Remedy.REPAIR,
        "A file of the package was changed after its installation (`dpkg --verify`).",
        "Find out who changed it. `relight reconcile` installs the release again.",
    ),
    "configuration-differs": Rule(
        HOST,
        False,
        Remedy.REPAIR,
        "The service on the host has not taken the configuration of its release.",
        "`relight reconcile` writes it, as each reconcile run does. A secret that was changed on "
        "the workers is such a difference too.",
    ),
    "configuration-edited": Rule(
        HOST,
        False,
        Remedy.REPAIR,
        "A file of the service's configuration was changed on the host.",
        "Find out who changed it: such a change belongs into the configuration. `relight "
        "reconcile` writes the file again.",
    ),
    "configuration-not-written": Rule(
        HOST,
        False,
        Remedy.ASK,
        "A file of the service's configuration could not be written on the host.",
        "The message names it. Check the disk and the folder on the host, then `relight route swap "
        "ROUTE TAG`.",
    ),
    "configuration-refused": Rule(
        RELEASE,
        False,
        Remedy.ROLL_BACK,
        "The service's own check refuses the configuration. None of its files was changed.",
        "The message has the check's words. `relight route rollback ROUTE` goes back to the last "
        "proven release. Correct the configuration, and roll the new revision out.",
    ),
    "clock-behind": Rule(
        HOST,
        True,
        Remedy.ASK,
        "The host's clock is behind the repository's, so its index is dated in the future.",
        "Run `timedatectl` on the host: date checks are never disabled. Then `relight route swap "
        "ROUTE TAG`.",
    ),
    "apt-failed": Rule(
        HOST,
        False,
        Remedy.ASK,
        "apt or dpkg failed for a reason without a kind of its own.",
        "Read its output. An example is a failing script of another package. Repair it on the "
        "host, then `relight route swap ROUTE TAG`; or `relight route replace ROUTE`.",
    ),
    "maintainer-script-failed": Rule(
        RELEASE,
        False,
        Remedy.ROLL_BACK,
        "The package's own script failed: it is half-configured, and the old process still runs.",
        "`relight route rollback ROUTE` goes back to the last proven release and repairs the host. "
        "Fix the package.",
    ),
    "change-timed-out": Rule(
        RELEASE,
        False,
        Remedy.ROLL_BACK,
        "The change did not end before its deadline, as when a script of the package hangs.",
        "Read its last lines. `relight route rollback ROUTE` repairs the host.",
    ),
    "dependencies-missing": Rule(
        RELEASE,
        False,
        Remedy.ROLL_BACK,
        "The release needs packages that none of the host's apt sources has.",
        "`relight route rollback ROUTE` goes back to the last proven release. Fix the package's "
        "dependencies, or add a source that has them to the hosts.",
    ),
    "removal-refused": Rule(
        RELEASE,
        False,
        Remedy.ROLL_BACK,
        "The release cannot be installed beside other packages of the host: they would be removed.",
        "Nothing was changed; the message names them. Fix the package's Conflicts and Breaks, or "
        "remove them on the host yourself. `relight route rollback ROUTE` goes back to the last "
        "proven release.",
    ),
    "package-files-conflict": Rule(
        RELEASE,
        False,
        Remedy.ROLL_BACK,
        "A file of the release belongs to another package of the host.",
        "The message names both. Fix the package. `relight route rollback ROUTE` goes back to the "
        "last proven release.",
    ),
    "downgrade-refused": Rule(
        CONTROLLER,
        False,
        Remedy.NONE,
        "The route runs a newer release and did not fail there, so it is not taken to an older "
        "one without a word. Nothing was changed.",
        "`relight route rollback ROUTE` takes it back, `relight rollout undo` all routes of the "
        "newest rollout; `relight route swap ROUTE TAG --allow-downgrade` goes to any release.",
    ),
}
"""The rule of each kind."""
