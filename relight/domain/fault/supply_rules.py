"""Rules of the faults of repositories and providers."""

from collections.abc import Mapping

from relight.domain.fault.fault import FaultClass
from relight.domain.fault.rule import Remedy, Rule

REPOSITORY, PROVIDER = FaultClass.REPOSITORY, FaultClass.PROVIDER

SUPPLY_RULES: Mapping[str, Rule] = {
    # The repository, as a host or the control plane reads it.
    "repository-unreachable": Rule(
        REPOSITORY,
        True,
        Remedy.WAIT,
        "The host cannot download from the repository.",
        "Check that the repository answers, also from the host's region: `relight release list` "
        "shows whether it answers from here.",
    ),
    "repository-inconsistent": Rule(
        REPOSITORY,
        True,
        Remedy.WAIT,
        "The repository's files do not match its index: damaged, missing, or partly published.",
        "Publish again: files first, InRelease (or GitHub's release) last. `relight release "
        "list` shows whether it is whole. Nothing was installed.",
    ),
    "repository-untrusted": Rule(
        REPOSITORY,
        False,
        Remedy.WAIT,
        "The repository's signature, key, dates or digests are missing or not valid.",
        "Check who signed it and until when it is valid. `relight release list` reads it again. "
        "Nothing was installed.",
    ),
    "repository-unavailable": Rule(
        REPOSITORY,
        True,
        Remedy.WAIT,
        "The control plane gets no answer from the repository, or an incomplete one.",
        "`relight release list` shows whether it answers from here. Check that no publication "
        "is in progress.",
    ),
    "repository-broken": Rule(
        REPOSITORY,
        False,
        Remedy.WAIT,
        "The repository's index cannot be parsed, or no repository is configured.",
        "Check RELIGHT_REPOSITORY__* or RELIGHT_GITHUB__*, and the content of the repository. "
        "`relight release list` reads it again.",
    ),
    "version-not-listed": Rule(
        REPOSITORY,
        True,
        Remedy.WAIT,
        "The host's apt does not list the version that the control plane found in the repository.",
        "A mirror is behind, or the host uses another suite. `relight release show TAG` has the "
        "version that it should list.",
    ),
    "release-unknown": Rule(
        REPOSITORY,
        False,
        Remedy.NONE,
        "The repository does not have the release, or not for every architecture in scope.",
        "`relight release list` shows the available releases.",
    ),
    "release-rebuilt": Rule(
        REPOSITORY,
        False,
        Remedy.NONE,
        "The repository has other content under a version than the fleet knows under it.",
        "Publish changed content under a new version. `relight release show TAG` has the digests "
        "that the repository offers; `relight rollout start TAG` rolls that content out.",
    ),
    # Providers.
    "provider-unavailable": Rule(
        PROVIDER,
        True,
        Remedy.WAIT,
        "The provider's API does not answer, or does not report the result of a request.",
        "Check the provider's status page; `relight reconcile --dry-run` shows whether it "
        "answers. Before a retry, the last request's result is looked up.",
    ),
    "provider-unreadable": Rule(
        PROVIDER,
        True,
        Remedy.WAIT,
        "The provider's answer was not understood: not its API's format, incomplete, or too large.",
        "Check that no proxy or login page answers in its place, and the provider's status page; "
        "`relight reconcile --dry-run` shows whether it answers. Nothing was concluded from it.",
    ),
    "provider-rate-limited": Rule(
        PROVIDER,
        True,
        Remedy.WAIT,
        "The provider limits the rate of requests.",
        "Nothing, or provision fewer machines at once.",
    ),
    "provider-capacity": Rule(
        PROVIDER,
        False,
        Remedy.WAIT,
        "The provider has no room for the machine now, in any zone and shape of the region.",
        "Nothing: pools and replacements try again later. Name more zones and shapes of the "
        "region in `providers.toml`, or use another region, which `relight provider list` shows: "
        "`relight route provision ROUTE --track TRACK --region REGION`.",
    ),
    "provider-quota": Rule(
        PROVIDER,
        False,
        Remedy.ASK,
        "A limit of our account at the provider is reached.",
        "The message has its words. Ask the provider for a higher limit, or remove machines that "
        "are not needed; then `relight route provision ROUTE --track TRACK --region REGION` again.",
    ),
    "provider-invalid": Rule(
        PROVIDER,
        False,
        Remedy.ASK,
        "A request to the provider is wrong, and would be refused again.",
        "The message names what is wrong: an image, a shape or a subnet in `providers.toml`, or "
        "the size of the user-data. `relight provider list` names the providers; `check` and a "
        "name instead of `list` looks them up. Then `relight route provision ROUTE --track TRACK "
        "--region REGION` again.",
    ),
    "provider-refused": Rule(
        PROVIDER,
        False,
        Remedy.ASK,
        "The provider refused a request.",
        "The message has its answer: usually about a quota, an image or a region. Then `relight "
        "route provision ROUTE --track TRACK --region REGION` again.",
    ),
    # The object storage where a base image is while it is imported.
    "staging-unavailable": Rule(
        PROVIDER,
        True,
        Remedy.WAIT,
        "The object storage where disks are staged does not answer, or asks to wait.",
        "Check the storage's status page, and `url` in the provider's table `staging` of "
        "`providers.toml`; `relight provider list` names the providers. What was uploaded is found "
        "again, or deleted by the next run.",
    ),
    "staging-refused": Rule(
        PROVIDER,
        False,
        Remedy.ASK,
        "The object storage where disks are staged refused a request, or the disk is another one "
        "than its manifest names.",
        "The message has its answer: usually about the access key, its rights or the bucket. Check "
        "the provider's table `staging` in `providers.toml`; `relight provider list` names the "
        "providers.",
    ),
    "staging-exposed": Rule(
        PROVIDER,
        False,
        Remedy.ASK,
        "A staged disk could be read without a login. It was deleted.",
        "Find out who made the bucket public, and make it private: no policy and no access list "
        "that names everybody. `relight provider list` names the providers; their buckets are in "
        "`providers.toml`.",
    ),
    "provider-credentials": Rule(
        PROVIDER,
        False,
        Remedy.ASK,
        "The provider does not accept our credentials.",
        "Check the file that the worker has them in, as RELIGHT_PROVIDERS__LINODE__TOKEN_FILE, and "
        "restart `relight worker`. `relight provider list` names the providers; `check` and a name "
        "instead of `list` tries the credentials.",
    ),
    "machine-failed": Rule(
        PROVIDER,
        False,
        Remedy.REPLACE,
        "The provider reports that the machine failed or no longer exists.",
        "Read the console at the provider. `relight route replace ROUTE` gives the route another "
        "machine; a new route: `relight route provision ROUTE --track TRACK --region REGION`.",
    ),
    "machine-conflict": Rule(
        PROVIDER,
        False,
        Remedy.ASK,
        "Two machines have the same key, or a machine's id belongs to another key.",
        "Find out at the provider which machine is ours: `relight route show ROUTE` has the id "
        "on record. Nothing was destroyed.",
    ),
    "image-in-use": Rule(
        PROVIDER,
        False,
        Remedy.WAIT,
        "The provider keeps a base image, because a machine, a volume or a copy needs it.",
        "Nothing: it stays until nothing needs it. The message has the provider's words for what "
        "does; `relight route list` shows the routes whose machines may be made of it.",
    ),
    "machine-not-ours": Rule(
        PROVIDER,
        False,
        Remedy.ASK,
        "A machine to destroy has another key, generation, id or tag than the one on record.",
        "The message names the difference: check the owner at the provider; `relight route show "
        "ROUTE` has the id on record. Nothing was destroyed.",
    ),
    "machine-still-answers": Rule(
        PROVIDER,
        False,
        Remedy.ASK,
        "The provider has no such machine any more, and its host still answers with its own key.",
        "It runs, and may cost money: have the provider end it. A removal that runs then ends by "
        "itself; `relight machine remove KEY` begins one. `relight machine keep KEY` ends a "
        "removal, and leaves the machine as it is.",
    ),
    "unknown-location": Rule(
        PROVIDER,
        False,
        Remedy.NONE,
        "There is no such provider, or the provider has no such region.",
        "Check the name and the worker's configuration, as `providers.toml` or RELIGHT_LAB__URL; "
        "`relight provider list` shows the providers and their regions. Nothing was changed.",
    ),
}
"""The rule of each kind."""
