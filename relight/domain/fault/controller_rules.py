"""Rules of the faults of the control plane and of requests to it."""

from collections.abc import Mapping

from relight.domain.fault.fault import FaultClass
from relight.domain.fault.rule import Remedy, Rule

CONTROLLER = FaultClass.CONTROLLER

CONTROLLER_RULES: Mapping[str, Rule] = {
    # Provisioning.
    "user-data-changed": Rule(
        CONTROLLER,
        False,
        Remedy.NONE,
        "Templates or settings changed while a machine was provisioned.",
        "`relight route provision ROUTE --track TRACK --region REGION` starts again.",
    ),
    "template-broken": Rule(
        CONTROLLER,
        False,
        Remedy.ASK,
        "A template of cloud-init or of the service's files cannot be rendered.",
        "The message names the template and what it lacks: check RELIGHT_SERVICE__FILES and "
        "RELIGHT_SERVICE__SECRETS_FILE.",
    ),
    "no-desired-release": Rule(
        CONTROLLER,
        False,
        Remedy.NONE,
        "No release is declared for the track's routes.",
        "`relight settings set default_release_tag TAG`, or `relight track set TRACK --release "
        "TAG`.",
    ),
    # Rollouts.
    "preflight-failed": Rule(
        CONTROLLER,
        False,
        Remedy.NONE,
        "A check before the first host found a reason why the rollout would fail.",
        "The message names each region and its reason. Fix it, then `relight rollout start TAG` "
        "again.",
    ),
    "check-unanswered": Rule(
        CONTROLLER,
        True,
        Remedy.WAIT,
        "A check after a wave gives no answer. That says nothing about the release.",
        "The message has the reason. Fix the check or RELIGHT_GATE_CHECKS; it is run again.",
    ),
    "check-not-yet": Rule(
        CONTROLLER,
        True,
        Remedy.WAIT,
        "The command of a check after a wave reports that it is too early (exit code 75).",
        "Nothing: it is run again. `relight rollout abort` does not wait for it.",
    ),
    "no-routes": Rule(
        CONTROLLER,
        False,
        Remedy.NONE,
        "No route in the rollout's scope serves.",
        "See `relight route list`, and with `relight track show` which tracks have an override "
        "of their own.",
    ),
    "no-release-before": Rule(
        CONTROLLER,
        False,
        Remedy.NONE,
        "The route was never proven at another release, or has come back from a bad one already.",
        "`relight route show ROUTE` shows what it runs, `relight release list` the releases to "
        "which `relight route swap --help` brings it.",
    ),
    "scope-busy": Rule(
        CONTROLLER,
        False,
        Remedy.NONE,
        "Another rollout holds the scope.",
        "`relight rollout status` shows it. `relight rollout abort` ends it; or wait.",
    ),
    "wrong-phase": Rule(
        CONTROLLER,
        False,
        Remedy.NONE,
        "The command is not possible in the rollout's current phase.",
        "See `relight rollout status`.",
    ),
    # Routes and machines.
    "route-busy": Rule(
        CONTROLLER,
        False,
        Remedy.WAIT,
        "Another operation on the route has been running for too long.",
        "`relight route show ROUTE` shows what the route is; the Temporal UI shows the "
        "operation, by the route's id. `relight route cancel ROUTE` ends it.",
    ),
    "disruption-refused": Rule(
        CONTROLLER,
        False,
        Remedy.NONE,
        "The route may not be taken out now: another operation has it, or a budget is used up.",
        "Nothing: a reconcile run tries again once the operation or the budget that the message "
        "names is free.",
    ),
    "breaker-open": Rule(
        CONTROLLER,
        False,
        Remedy.NONE,
        "Nothing is destroyed: too many machines are unreachable, or no connectivity check passes.",
        "`relight breaker status` has the counts. The breaker closes by itself; `relight "
        "breaker override add` releases one group.",
    ),
    "destruction-limit": Rule(
        CONTROLLER,
        False,
        Remedy.NONE,
        "The hourly limit of destroyed machines is reached, in the region or in total.",
        "Nothing: the next reconcile run continues.",
    ),
    "machine-not-destroyed": Rule(
        CONTROLLER,
        False,
        Remedy.ASK,
        "A machine was to be destroyed, and was not: it serves, it answers as ours, or its fault "
        "may not be its own. Nothing was changed.",
        "The message names which. Look at the machine; `relight machine remove KEY` removes it all "
        "the same, once it serves no route.",
    ),
    "worker-key-missing": Rule(
        CONTROLLER,
        True,
        Remedy.WAIT,
        "A worker lacks a key that is being rotated.",
        "Copy the file that the message names from a worker that has it; no restart is needed. "
        "`relight keys status` shows what each worker has.",
    ),
    "key-rotation-busy": Rule(
        CONTROLLER,
        False,
        Remedy.NONE,
        "Another rotation of this key is not finished.",
        "`relight keys status` shows it, and the command that goes on with it.",
    ),
    "route-quarantined": Rule(
        CONTROLLER,
        False,
        Remedy.ASK,
        "The route's machine was replaced several times, and the route still fails.",
        "Find the cause, which `relight route show ROUTE` has the history of. Then "
        "`relight route release ROUTE`, or `relight route retire ROUTE`.",
    ),
    "route-without-machine": Rule(
        CONTROLLER,
        False,
        Remedy.NONE,
        "The route has no machine to work on.",
        "`relight route provision ROUTE --track TRACK --region REGION` gives it one.",
    ),
    "route-occupied": Rule(
        CONTROLLER,
        False,
        Remedy.NONE,
        "The route already has a machine, or may have one.",
        "`relight route show ROUTE` shows it.",
    ),
    "machine-is-there": Rule(
        CONTROLLER,
        False,
        Remedy.NONE,
        "The machine that was to be replaced as gone or unreachable exists and answers, or it is "
        "made of the image that is rolled out already. Nothing was changed.",
        "Nothing: it serves. `relight route replace ROUTE` without --unreachable replaces it in "
        "spite of that.",
    ),
    "wrong-machine": Rule(
        CONTROLLER,
        False,
        Remedy.NONE,
        "The machine is destroyed, or belongs to another route; its result is not recorded.",
        "Nothing: the operation was too late.",
    ),
    # Names and values.
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
        "Report it as a bug: an operation recorded a machine that it had not planned. `relight "
        "reconcile --dry-run` shows what it left.",
    ),
    "unknown-setting": Rule(
        CONTROLLER,
        False,
        Remedy.NONE,
        "There is no such setting.",
        "See `relight settings get`.",
    ),
    "bad-value": Rule(
        CONTROLLER,
        False,
        Remedy.NONE,
        "A value in the store, or to be stored, does not have the required format.",
        "The message names the value. It may have been changed by SQL: `relight store bad-rows` "
        "lists such rows, with the commands that repair or delete each.",
    ),
    # The store.
    "bad-store-url": Rule(
        CONTROLLER,
        False,
        Remedy.ASK,
        "The store's URL is not that of a supported database.",
        "Check RELIGHT_STORE_URL.",
    ),
    "store-unreachable": Rule(
        CONTROLLER,
        True,
        Remedy.WAIT,
        "The store's database does not answer, or its file cannot be used.",
        "Start the database, or make its file usable for this user. RELIGHT_STORE_URL is its "
        "address.",
    ),
    "store-too-old": Rule(
        CONTROLLER,
        False,
        Remedy.ASK,
        "The store has no tables yet, or those of an older version of Relight.",
        "`relight store upgrade`, once for all workers and command lines of this version.",
    ),
    "clock-wrong": Rule(
        CONTROLLER,
        False,
        Remedy.NONE,
        "Records have times of the future: a clock of the control plane is or was wrong. They "
        "count as unknown; what is restricted stays so.",
        "`timedatectl` on each computer that runs a worker or commands shows whether its clock is "
        "right; set it by NTP. Hosts are verified again by themselves. Holds that were added at a "
        "wrong time: `relight freeze list`, `relight exclude list`, `relight breaker override "
        "list`.",
    ),
    "records-outdated": Rule(
        CONTROLLER,
        False,
        Remedy.NONE,
        "A machine or a host is newer than the store knows: the store may be an old backup. What "
        "is in doubt is not changed.",
        "`relight store check` compares the store with providers and hosts. `relight store "
        "adopt-current` takes what is proven now into the store. If another control plane uses "
        "the same RELIGHT_FLEET_OWNER, stop it.",
    ),
    "store-too-new": Rule(
        CONTROLLER,
        False,
        Remedy.ASK,
        "The store's tables were migrated by a newer version of Relight.",
        "Run that version of `relight worker`.",
    ),
    "fleet-refused": Rule(
        CONTROLLER,
        False,
        Remedy.ASK,
        "The store refused a request.",
        "The message has the reason; `relight fleet status` shows the state of the fleet.",
    ),
    # The operation itself.
    "cancelled": Rule(
        CONTROLLER,
        False,
        Remedy.REPAIR,
        "The operation was cancelled before it was complete.",
        "Run it again, or `relight reconcile`: it begins with a repair of what it finds.",
    ),
    "terminated": Rule(
        CONTROLLER,
        False,
        Remedy.REPAIR,
        "The operation was terminated and could not undo anything.",
        "Run it again, or `relight reconcile`: it continues from what was left.",
    ),
    "timed-out": Rule(
        CONTROLLER,
        False,
        Remedy.ASK,
        "A step did not end within its time limit, over all its attempts.",
        "Find out in the Temporal UI which step, and whether a worker runs: `relight worker` "
        "starts one. Then run it again.",
    ),
    "controller-bug": Rule(
        CONTROLLER,
        False,
        Remedy.ASK,
        "Relight itself has a bug.",
        "Report it with the message, which `relight route show ROUTE` has. Nothing was "
        "destroyed because of it.",
    ),
}
"""The rule of each kind."""
