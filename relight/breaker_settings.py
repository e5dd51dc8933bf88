"""The breaker's parts, by the settings: the same for a worker and for `relight breaker status`."""

from relight.breaker_evaluation import BreakerEvaluation
from relight.connectivity import ConnectivityCheck, UrlConnectivityCheck
from relight.release_source import release_source_config
from relight.settings import Settings
from relight.store.store import Store


def connectivity_checks(settings: Settings) -> tuple[ConnectivityCheck, ...]:
    """Return the control plane's connectivity checks; by default that of the release source.

    Raises:
        SettingsError: none is set, and neither is the release source.
        OSError: the file with GitHub's token cannot be read.
    """
    urls = settings.connectivity_checks or (release_source_config(settings).address,)
    return tuple(UrlConnectivityCheck(url) for url in urls)


def breaker_evaluation(settings: Settings, store: Store) -> BreakerEvaluation:
    """Return what evaluates the breaker of a store."""
    return BreakerEvaluation(store, settings.breaker, settings.reconcile.replacement.window)
