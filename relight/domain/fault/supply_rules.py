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
        "Check that the repository answers, also from the host's region.",
    ),
    "repository-inconsistent": Rule(
        REPOSITORY,
        True,
        Remedy.WAIT,
        "The repository's files do not match its index: damaged, missing, or partly published.",
        "Publish again: files first, InRelease (or GitHub's release) last. Nothing was installed.",
    ),
    "repository-untrusted": Rule(
        REPOSITORY,
        False,
        Remedy.WAIT,
        "The repository's signature, key, dates or digests are missing or not valid.",
        "Check who signed it and until when it is valid. Nothing was installed.",
    ),
    "repository-unavailable": Rule(
        REPOSITORY,
        True,
        Remedy.WAIT,
        "The control plane gets no answer from the repository, or an incomplete one.",
        "Check that it answers from here, and that no publication is in progress.",
    ),
    "repository-broken": Rule(
        REPOSITORY,
        False,
        Remedy.WAIT,
        "The repository's index cannot be parsed, or no repository is configured.",
        "Check RELIGHT_REPOSITORY__* or RELIGHT_GITHUB__*, and the content of the repository.",
    ),
    "version-not-listed": Rule(
        REPOSITORY,
        True,
        Remedy.WAIT,
        "The host's apt does not list the version that the control plane found in the repository.",
        "A mirror is behind, or the host uses another suite.",
    ),
    "release-unknown": Rule(
        REPOSITORY,
        False,
        Remedy.NONE,
        "The repository does not have the release, or not for every architecture in scope.",
        "`relight release list` shows the available releases.",
    ),
    # Providers.
    "provider-unavailable": Rule(
        PROVIDER,
        True,
        Remedy.WAIT,
        "The provider's API does not answer, or does not report the result of a request.",
        "Check the provider's status page. Before a retry, the last request's result is looked up.",
    ),
    "provider-rate-limited": Rule(
        PROVIDER,
        True,
        Remedy.WAIT,
        "The provider limits the rate of requests.",
        "Nothing, or provision fewer machines at once.",
    ),
    "provider-refused": Rule(
        PROVIDER,
        False,
        Remedy.ASK,
        "The provider refused a request.",
        "The message has its answer: usually about a quota, an image or a region.",
    ),
    "provider-credentials": Rule(
        PROVIDER,
        False,
        Remedy.ASK,
        "The provider does not accept our credentials.",
        "Check the token that is configured for the worker.",
    ),
    "machine-failed": Rule(
        PROVIDER,
        False,
        Remedy.REPLACE,
        "The provider reports that the machine failed or no longer exists.",
        "Provision the route again. Read the console at the provider.",
    ),
    "machine-conflict": Rule(
        PROVIDER,
        False,
        Remedy.ASK,
        "Two machines have the same key, or a machine's id belongs to another key.",
        "Nothing was destroyed. Find out at the provider which machine is ours.",
    ),
    "machine-not-ours": Rule(
        PROVIDER,
        False,
        Remedy.ASK,
        "A machine to destroy has another key, generation, id or tag than the one on record.",
        "Nothing was destroyed. The message names the difference: check the owner at the provider.",
    ),
    "unknown-location": Rule(
        PROVIDER,
        False,
        Remedy.NONE,
        "There is no such provider, or the provider has no such region.",
        "Nothing was changed. Check the worker's configuration.",
    ),
}
"""The rule of each kind."""
