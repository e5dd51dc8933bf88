"""Every kind of fault that there is: at whose door it lies, and what is done about it.

This is the one place where that is decided. Errors name their kind alone; `docs/faults.md` is made
from this table (`make docs`).
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

from relight.domain.fault.fault import Fault, FaultClass

HOST, RELEASE, REPOSITORY, PROVIDER, CONTROLLER = FaultClass


class Remedy(StrEnum):
    """What a fault asks for, once trying again by itself has not helped.

    `repair`: the next operation on the host mends what it finds. `roll back`: bring the route back
    to the release before. `replace`: another machine for the route. `wait`: it is no host's fault;
    go on when what is missing is back. `ask`: a person has to decide. `none`: nothing was changed,
    or there is nothing to mend.
    """

    REPAIR = "repair"
    ROLL_BACK = "roll back"
    REPLACE = "replace"
    WAIT = "wait"
    ASK = "ask"
    NONE = "none"


class Rule(NamedTuple):
    """What follows from a kind of fault.

    Attributes:
        fault_class: at whose door it lies. Host and release faults spend a failure budget.
        retried: whether the step tries again by itself first, under its own policy.
        remedy: what it asks for after that.
        meaning: what happened, for an operator who meets it at night.
        advice: what to do, or to look at.
    """

    fault_class: FaultClass
    retried: bool
    remedy: Remedy
    meaning: str
    advice: str

    @property
    def is_refusal(self) -> bool:
        """Whether what was asked for cannot be done as things stand, and nothing was changed."""
        return self.remedy is Remedy.NONE


RULES: Mapping[str, Rule] = {
    # The way to a host.
    "host-unreachable": Rule(
        HOST,
        True,
        Remedy.REPLACE,
        "No SSH connection came about: the host is off, cut off, or its sshd is down.",
        "See the machine at its provider. Where many hosts say so at once, look at the network.",
    ),
    "host-booting": Rule(
        HOST,
        True,
        Remedy.REPLACE,
        "The host is on its way up or down, and lets nobody in yet.",
        "Wait; a host that stays so hangs in its boot: see its console at the provider.",
    ),
    "host-key-mismatch": Rule(
        HOST,
        False,
        Remedy.ASK,
        "Whoever answers shows another SSH host key than the one derived for this machine.",
        "Treat it as another's machine until you know better: nothing was sent to it.",
    ),
    "login-refused": Rule(
        HOST,
        False,
        Remedy.REPLACE,
        "The host is the right one, and does not let the control plane in.",
        "Somebody changed its authorized keys or its user, or the client key was changed here.",
    ),
    "sudo-refused": Rule(
        HOST,
        False,
        Remedy.REPLACE,
        "The control plane's user may not do as root what it has to.",
        "Somebody changed its sudo rules, see /etc/sudoers.d on the host, or sudo itself is gone.",
    ),
    "host-program-missing": Rule(
        HOST,
        False,
        Remedy.REPLACE,
        "The host lacks /usr/local/sbin/relight-host, which does there as root what is to be done.",
        "A host gets it at its first boot alone: somebody removed it, or another set the host up.",
    ),
    "connection-lost": Rule(
        HOST,
        True,
        Remedy.REPAIR,
        "The link broke under a command. Work on packages goes on without the link.",
        "Nothing, if it stays one: the next attempt finds what the host did meanwhile.",
    ),
    "command-failed": Rule(
        HOST,
        False,
        Remedy.ASK,
        "A command that should not fail did.",
        "Read its last words: something on this host is not as on the others.",
    ),
    "command-timeout": Rule(
        HOST,
        True,
        Remedy.REPLACE,
        "A short command did not end: the host hangs, or is out of memory or disk time.",
        "See its load, memory and disk.",
    ),
    "unreadable-answer": Rule(
        HOST,
        False,
        Remedy.ASK,
        "A tool of the host answered with something that it does not say.",
        "See which Debian the host runs; report the answer as a bug.",
    ),
    "host-rebooted": Rule(
        HOST,
        True,
        Remedy.REPAIR,
        "The host booted anew in the middle of an operation.",
        "Nothing: the next attempt mends what the boot interrupted. Ask why it rebooted.",
    ),
    "transaction-lost": Rule(
        HOST,
        True,
        Remedy.REPAIR,
        "The host no longer knows the unit that changed its packages.",
        "Nothing: it is run again, and mends what it finds.",
    ),
    # First boot.
    "first-boot-failed": Rule(
        HOST,
        False,
        Remedy.REPLACE,
        "cloud-init, or a step of ours in it, failed. The class is that of the step's own fault.",
        "Read the step's last words; the machine is destroyed, and the route can be tried again.",
    ),
    # Packages on a host.
    "dpkg-lock-held": Rule(
        HOST,
        True,
        Remedy.ASK,
        "Another program changes packages on the host, and has for longer than is usual.",
        "The text says which process holds the lock. Never delete the lock file.",
    ),
    "lists-lock-held": Rule(
        HOST,
        True,
        Remedy.ASK,
        "Another apt refreshes its lists on the host.",
        "The text says which process holds the lock; unattended upgrades end by themselves.",
    ),
    "dpkg-interrupted": Rule(
        HOST,
        True,
        Remedy.REPAIR,
        "dpkg was killed, or the host lost power, in the middle of a change.",
        "Nothing: the next attempt runs `dpkg --configure -a` and installs again.",
    ),
    "disk-full": Rule(
        HOST,
        False,
        Remedy.ASK,
        "The host has no space left for the package, or for dpkg's own records.",
        "Free space in /var or /usr on the host, then roll out again.",
    ),
    "packages-held": Rule(
        HOST,
        False,
        Remedy.ASK,
        "Somebody holds the package on this host on purpose (`apt-mark hold`).",
        "Ask who, and why; `apt-mark unhold` lets it go. It is never overridden.",
    ),
    "package-not-installed": Rule(
        HOST,
        False,
        Remedy.REPAIR,
        "dpkg has the right version, but not wholly: unpacked, half-configured or removed.",
        "Swap the route again: it begins with mending.",
    ),
    "package-version-differs": Rule(
        HOST,
        False,
        Remedy.REPAIR,
        "dpkg has another version than the one that was installed.",
        "Somebody else changes packages on this host: see /var/log/dpkg.log.",
    ),
    "package-damaged": Rule(
        HOST,
        False,
        Remedy.REPAIR,
        "A file of the package is not the one that the package brought (`dpkg --verify`).",
        "Find out who replaced or damaged it; the next swap to this release puts it back.",
    ),
    "clock-behind": Rule(
        HOST,
        True,
        Remedy.ASK,
        "The host's clock is behind the repository's: its index seems to come from the future.",
        "See `timedatectl` on the host. Checks of dates are never switched off.",
    ),
    "apt-failed": Rule(
        HOST,
        False,
        Remedy.ASK,
        "apt or dpkg failed in a way that has no name of its own.",
        "Read its last words; a failing script of another package is one such.",
    ),
    "maintainer-script-failed": Rule(
        RELEASE,
        False,
        Remedy.ROLL_BACK,
        "The package's own script failed: it is half-configured, and the old process still runs.",
        "Mend the package; going back to the release before repairs the host.",
    ),
    "dependencies-missing": Rule(
        RELEASE,
        False,
        Remedy.ROLL_BACK,
        "The release needs packages that none of the host's sources has.",
        "Mend the package's dependencies, or give the hosts the source that has them.",
    ),
    "downgrade-refused": Rule(
        CONTROLLER,
        False,
        Remedy.ASK,
        "The host runs a newer version, and only a rollback may go to an older one.",
        "`relight route rollback ROUTE` goes back to the release before.",
    ),
    # The repository, as a host or the control plane sees it.
    "repository-unreachable": Rule(
        REPOSITORY,
        True,
        Remedy.WAIT,
        "The host cannot fetch from the repository.",
        "See that the repository answers, from the host's region too.",
    ),
    "repository-inconsistent": Rule(
        REPOSITORY,
        True,
        Remedy.WAIT,
        "The repository's files do not fit its index: damaged, gone, or half published.",
        "Publish again: files first, InRelease (or GitHub's release) last. Nothing was installed.",
    ),
    "repository-untrusted": Rule(
        REPOSITORY,
        False,
        Remedy.WAIT,
        "The repository's signature, key, dates or digests do not hold, or are not there.",
        "Check who signed it, and until when it is valid. Nothing was installed.",
    ),
    "repository-unavailable": Rule(
        REPOSITORY,
        True,
        Remedy.WAIT,
        "The control plane gets no answer from the repository, or a torn one.",
        "See that it answers from here, and that nobody is publishing.",
    ),
    "repository-broken": Rule(
        REPOSITORY,
        False,
        Remedy.WAIT,
        "The repository's index cannot be read, or no repository is set.",
        "See RELIGHT_REPOSITORY__* or RELIGHT_GITHUB__*, and what the repository holds.",
    ),
    "version-not-listed": Rule(
        REPOSITORY,
        True,
        Remedy.WAIT,
        "The host's view of the repository lacks the version that the control plane saw there.",
        "A mirror lags behind, or the region reads another suite.",
    ),
    "release-unknown": Rule(
        REPOSITORY,
        False,
        Remedy.NONE,
        "The repository has no such release, or not for every architecture in scope.",
        "`relight release list` shows what there is.",
    ),
    # The service on a host.
    "unit-failed": Rule(
        RELEASE,
        False,
        Remedy.ROLL_BACK,
        "The service did not start, or failed.",
        "Its last log lines say why.",
    ),
    "unit-crash-looping": Rule(
        RELEASE,
        False,
        Remedy.ROLL_BACK,
        "The service ends by itself, and systemd starts it again and again.",
        "Its last log lines say why.",
    ),
    "unit-not-active": Rule(
        RELEASE,
        False,
        Remedy.ROLL_BACK,
        "The service is not up, without having failed.",
        "See `systemctl status` on the host: somebody may have stopped it.",
    ),
    "unit-not-found": Rule(
        RELEASE,
        False,
        Remedy.ROLL_BACK,
        "The package carries no unit of the name that is set.",
        "See RELIGHT_SERVICE__UNIT, and what the package holds.",
    ),
    "unit-disabled": Rule(
        HOST,
        False,
        Remedy.REPAIR,
        "The service runs, but would not come up at the next boot.",
        "Somebody disabled it on the host; a swap enables it again.",
    ),
    "unit-masked": Rule(
        HOST,
        False,
        Remedy.ASK,
        "Somebody on the host forbade the service to run (`systemctl mask`).",
        "Ask who, and why; `systemctl unmask` lets it go. It is never overridden.",
    ),
    "unit-restarted": Rule(
        HOST,
        True,
        Remedy.REPAIR,
        "Somebody started the service anew while it was being proven.",
        "Nothing, if it stays one: it is looked at again.",
    ),
    "stale-process": Rule(
        HOST,
        False,
        Remedy.REPAIR,
        "The service's process runs another file than the installed one.",
        "It was not restarted since the package changed, or runs something else: swap it again.",
    ),
    "probe-failed": Rule(
        RELEASE,
        False,
        Remedy.ROLL_BACK,
        "The service runs, and does not answer its health probe as a healthy one does.",
        "The text has its answer. From everywhere at once, it may be a firewall.",
    ),
    "probe-not-runnable": Rule(
        CONTROLLER,
        False,
        Remedy.ASK,
        "The command that is the health probe cannot be run on the control plane.",
        "Set RELIGHT_SERVICE__PROBE_COMMAND to one that can. No host is to blame.",
    ),
    # Providers.
    "provider-unavailable": Rule(
        PROVIDER,
        True,
        Remedy.WAIT,
        "The provider's API does not answer, or says nothing about what happened.",
        "See the provider's status page. What was asked is looked for before it is asked again.",
    ),
    "provider-rate-limited": Rule(
        PROVIDER,
        True,
        Remedy.WAIT,
        "The provider asks for patience.",
        "Nothing, or provision fewer machines at once.",
    ),
    "provider-refused": Rule(
        PROVIDER,
        False,
        Remedy.ASK,
        "The provider refused what it was asked for.",
        "The text has its answer: a quota, an image or a region, mostly.",
    ),
    "provider-credentials": Rule(
        PROVIDER,
        False,
        Remedy.ASK,
        "The provider does not accept our credentials.",
        "See the token that the worker is given.",
    ),
    "machine-failed": Rule(
        PROVIDER,
        False,
        Remedy.REPLACE,
        "The provider says that the machine came to nothing, or is gone.",
        "Provision the route again; see the console at the provider.",
    ),
    "machine-conflict": Rule(
        PROVIDER,
        False,
        Remedy.ASK,
        "Two machines have one key, or a machine's id belongs to another key.",
        "Nothing was destroyed. See at the provider which one is ours.",
    ),
    "machine-not-ours": Rule(
        PROVIDER,
        False,
        Remedy.ASK,
        "A machine was to be destroyed whose key, generation, id or tag is not the one on record.",
        "Nothing was destroyed. The text says what differs: see at the provider whose it is.",
    ),
    "unknown-location": Rule(
        PROVIDER,
        False,
        Remedy.NONE,
        "There is no such provider, or it has no such region.",
        "Nothing was changed. See what the worker is configured for.",
    ),
    # Ourselves.
    "user-data-changed": Rule(
        CONTROLLER,
        False,
        Remedy.NONE,
        "Templates or settings changed while a machine was being provisioned.",
        "Provision it again.",
    ),
    "template-broken": Rule(
        CONTROLLER,
        False,
        Remedy.ASK,
        "A template of cloud-init or of the daemon's files cannot be rendered.",
        "The text names it, and what it lacks.",
    ),
    "no-desired-release": Rule(
        CONTROLLER,
        False,
        Remedy.NONE,
        "Nothing declares which release the track's routes should run.",
        "`relight settings set default_release_tag TAG`, or an override on the track.",
    ),
    "preflight-failed": Rule(
        CONTROLLER,
        False,
        Remedy.NONE,
        "Before its first host something was found that a rollout would have met.",
        "The text names each region and its reason. Mend that, and start the rollout again.",
    ),
    "check-unanswered": Rule(
        CONTROLLER,
        True,
        Remedy.WAIT,
        "A check that a rollout asks after each wave gives no answer: it says nothing about the "
        "release.",
        "The text says why. Mend what it asks, or RELIGHT_GATE_CHECKS; the rollout asks again.",
    ),
    "check-not-yet": Rule(
        CONTROLLER,
        True,
        Remedy.WAIT,
        "The command that a rollout asks after each wave says that it is too early (exit code 75).",
        "Nothing: it is asked again. `relight rollout abort` does not wait for it.",
    ),
    "no-routes": Rule(
        CONTROLLER,
        False,
        Remedy.NONE,
        "No route in the rollout's scope serves.",
        "See `relight route list`, and which tracks have an override of their own.",
    ),
    "no-release-before": Rule(
        CONTROLLER,
        False,
        Remedy.NONE,
        "The route has no release before this one that was proven on its machine.",
        "Roll out a release that is known to be good.",
    ),
    "route-busy": Rule(
        CONTROLLER,
        False,
        Remedy.WAIT,
        "Another operation on the route runs, and has for too long.",
        "See it in the Temporal UI by its workflow id, `route/{id}`.",
    ),
    "disruption-refused": Rule(
        CONTROLLER,
        False,
        Remedy.NONE,
        "The route may not be taken out now: another has it, or as many are out as may be.",
        "The text says who, or which budget. Wait, and ask again.",
    ),
    "breaker-open": Rule(
        CONTROLLER,
        False,
        Remedy.NONE,
        "Too much is out of reach at once, or no witness answers: nothing is destroyed.",
        "The text says what was seen. It closes by itself; an override lets one group be replaced.",
    ),
    "destruction-limit": Rule(
        CONTROLLER,
        False,
        Remedy.NONE,
        "As many machines were destroyed within the hour as may be, here or in all.",
        "Wait; the next reconciliation goes on.",
    ),
    "route-quarantined": Rule(
        CONTROLLER,
        False,
        Remedy.ASK,
        "The route was given one machine after the other, and none helped.",
        "Find out what they have in common, then give the route back or remove it.",
    ),
    "route-without-machine": Rule(
        CONTROLLER,
        False,
        Remedy.NONE,
        "The route has no machine to work on.",
        "Provision it again.",
    ),
    "route-occupied": Rule(
        CONTROLLER,
        False,
        Remedy.NONE,
        "The route has a machine already, or may have one.",
        "See `relight route show`.",
    ),
    "scope-busy": Rule(
        CONTROLLER,
        False,
        Remedy.NONE,
        "Another rollout moves the same declaration.",
        "`relight rollout status` shows it; abort it, or wait.",
    ),
    "wrong-phase": Rule(
        CONTROLLER,
        False,
        Remedy.NONE,
        "The rollout is not at a point where that can be done.",
        "See `relight rollout status`.",
    ),
    "unknown-route": Rule(
        CONTROLLER, False, Remedy.NONE, "There is no such route.", "See `relight route list`."
    ),
    "unknown-track": Rule(
        CONTROLLER, False, Remedy.NONE, "There is no such track.", "See `relight track show`."
    ),
    "unknown-machine": Rule(
        CONTROLLER,
        False,
        Remedy.ASK,
        "No machine was ever planned under this key.",
        "Report it: an operation wrote down what nobody had opened.",
    ),
    "unknown-setting": Rule(
        CONTROLLER,
        False,
        Remedy.NONE,
        "There is no such setting.",
        "See `relight settings get`.",
    ),
    "wrong-machine": Rule(
        CONTROLLER,
        False,
        Remedy.NONE,
        "The machine is destroyed, or another route's: nothing is said of the route by it.",
        "Nothing: an operation came too late.",
    ),
    "bad-value": Rule(
        CONTROLLER,
        False,
        Remedy.NONE,
        "A value in the store, or on its way there, is not of the shape that it must have.",
        "The text says whose it is; somebody may have changed it by SQL.",
    ),
    "bad-store-url": Rule(
        CONTROLLER,
        False,
        Remedy.ASK,
        "The store's address names no database that it can be kept in.",
        "See RELIGHT_STORE_URL.",
    ),
    "store-too-new": Rule(
        CONTROLLER,
        False,
        Remedy.ASK,
        "A newer Relight has changed the store's tables.",
        "Run that one.",
    ),
    "fleet-refused": Rule(
        CONTROLLER,
        False,
        Remedy.ASK,
        "The store refused what was asked of it.",
        "The text says why.",
    ),
    "cancelled": Rule(
        CONTROLLER,
        False,
        Remedy.REPAIR,
        "Somebody cancelled the operation before it was done.",
        "Run it again: it begins with mending what it finds.",
    ),
    "terminated": Rule(
        CONTROLLER,
        False,
        Remedy.REPAIR,
        "Somebody terminated the operation: it had no time to undo anything.",
        "Run it again: it takes up what was left.",
    ),
    "timed-out": Rule(
        CONTROLLER,
        False,
        Remedy.ASK,
        "A step did not end within its time, over all its attempts.",
        "See which one, and whether a worker runs.",
    ),
    "controller-bug": Rule(
        CONTROLLER,
        False,
        Remedy.ASK,
        "Relight itself went wrong.",
        "Report it, with the text; nothing was destroyed because of it.",
    ),
}
"""By kind, in the order of the document."""


def fault(kind: str, summary: str, attempted: str = "") -> Fault:
    """Return a fault that no host has part in, as the table says of its kind."""
    rule = RULES[kind]
    return Fault(
        kind=kind,
        fault_class=rule.fault_class,
        summary=summary,
        attempted=attempted,
        refused=rule.is_refusal,
    )
