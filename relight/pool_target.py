"""The targets of pools, the same for their own upkeep, for a reconcile run and for an operator."""

from collections.abc import Mapping, Sequence

from relight.domain.image.choice import choose_image
from relight.domain.image.image import ImageName
from relight.domain.pool.pool import PoolTarget
from relight.domain.pool.release import pool_release
from relight.domain.pool.tries import PoolPolicy
from relight.domain.remediation import ReplacementPolicy
from relight.store.pool_sizes import PoolSize
from relight.store.store import Store


def pool_targets(
    store: Store,
    pools: Sequence[PoolSize],
    policy: PoolPolicy,
    replacement: ReplacementPolicy,
    blocked: str | None = None,
) -> list[PoolTarget]:
    """Return what pools should be now, in their order.

    Args:
        store: the store.
        pools: their sizes and their failed tries.
        policy: when they try again.
        replacement: when a machine is given up.
        blocked: why nothing may be changed now; None if it may.
    """
    evidence = store.pool_releases.evidence(pools)
    return [
        PoolTarget(
            provider=pool.provider,
            region=pool.region,
            size=pool.size,
            release_tag=release.tag,
            release_reason=release.reason,
            tries=pool.tries,
            policy=policy,
            replacement=replacement,
            blocked=blocked,
            image_names=_image_names(store, pool),
        )
        for pool, release in zip(pools, map(pool_release, evidence), strict=True)
    ]


def _image_names(store: Store, pool: PoolSize) -> Mapping[str, ImageName | None]:
    """Return what new machines of a pool are made of, by architecture; None: as the settings say.

    Without any image on record for an architecture, it is not known what its machines should be.
    """
    images = store.images.list(provider=pool.provider, region=pool.region)
    stopped = store.rollouts.stopped_images()
    architectures = sorted({each.architecture for each in images})
    chosen = {each: choose_image(images, each, stopped) for each in architectures}
    return {name: image.name if image else None for name, image in chosen.items()}
