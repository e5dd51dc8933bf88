"""The parts that activities work with, and the activities that a worker runs with them."""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from temporalio.client import Client

from activities.configurations import ServiceConfigurations
from activities.delivery import PackageDelivery
from activities.fleet.comparison import ComparisonActivities
from activities.fleet.key_rotation import KeyRotationActivities
from activities.fleet.liveness import MAX_CONCURRENT, LivenessActivities
from activities.fleet.observe import BreakerSettings, ObservationActivities
from activities.fleet.pool import PoolActivities
from activities.fleet.remediation import RemediationActivities
from activities.fleet.retention import RetentionActivities
from activities.fleet.sweep import SweepActivities
from activities.fleet.verification import VerificationActivities
from activities.host_settings import HostSettingsWriter
from activities.image.choice import ImageChoiceActivities
from activities.image.contract import ImageContractActivities
from activities.image.fit import ImageFit
from activities.image.preflight import ImagePreflight
from activities.image.providers import ImageProviders
from activities.image.prune import ImagePruneActivities
from activities.image.publication import PublicationActivities
from activities.image.regions import ImageRegionActivities
from activities.image.rollout import ImageRolloutActivities
from activities.image.staging import Staging
from activities.machine.ask import MachineQuestions
from activities.machine.destruction import Destroyer, DestructionActivities
from activities.machine.drain import Drain, DrainActivities
from activities.machine.evidence import EvidenceActivities
from activities.machine.first_boot import (
    FirstBootActivities,
    UserDataRenderer,
)
from activities.machine.machines import MachineActivities
from activities.machine.new_key import NewKeyActivities
from activities.machine.presence import Presence
from activities.pinned_releases import PinnedReleases
from activities.release import ReleaseActivities
from activities.rollout.checks import GateCheck, GateCheckActivities
from activities.rollout.opening import OpeningActivities
from activities.rollout.preflight import HostParts, PreflightActivities
from activities.rollout.rollouts import RolloutActivities
from activities.rollout.undo import UndoActivities
from activities.route.disruption import DisruptionActivities, DisruptionLedger
from activities.route.hot_swap import HotSwapActivities, ProofActivities
from activities.route.replacement import ReplacementActivities
from activities.route.replacement_check import ReplacementCheckActivities
from activities.route.routes import RouteActivities
from activities.route.swap_route import SwapRouteActivities
from relight.breaker_evaluation import BreakerEvaluation
from relight.connectivity import ConnectivityCheck
from relight.domain.breaker.breaker import BreakerLimits
from relight.domain.pool.tries import PoolPolicy
from relight.domain.reconcile.plan import ReconcilePolicy
from relight.domain.service import Service
from relight.engine.step import activities_of
from relight.hosts.connections import Hosts, KeyedHosts
from relight.hosts.host_key_probe import HostKeyProbe
from relight.hosts.host_settings import HostSettings
from relight.hosts.liveness import LivenessProbe
from relight.hosts.probe import Probe
from relight.images.contract_file import ContractFile
from relight.providers.driver import ProviderDriver
from relight.providers.locations import LocationSettings
from relight.releases.package_files import PackageFiles
from relight.releases.source import ReleaseSource
from relight.store.store import Store


@dataclass(frozen=True)
class Parts:
    """What the activities work with."""

    task_queue: str
    fleet_owner: str
    store: Store
    drivers: Mapping[str, ProviderDriver]
    hosts: Hosts
    keyed_hosts: KeyedHosts
    repository: ReleaseSource
    user_data: UserDataRenderer
    service: Service
    probe: Probe
    liveness: LivenessProbe
    host_keys: HostKeyProbe
    max_probes: int = MAX_CONCURRENT
    checks: Mapping[str, GateCheck] = field(default_factory=dict)
    connectivity: Sequence[ConnectivityCheck] = ()
    drain: Drain = field(default_factory=Drain)
    policy: ReconcilePolicy = field(default_factory=ReconcilePolicy)
    limits: BreakerLimits = field(default_factory=BreakerLimits)
    pool: PoolPolicy = field(default_factory=PoolPolicy)
    creations: Mapping[str, AbstractAsyncContextManager[object]] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    passwords: Collection[str] = field(default=(), repr=False)
    package_files: PackageFiles | None = None
    host_settings: HostSettings | None = None
    image_folder: Path = Path("images")
    stagings: Mapping[str, Staging] = field(default_factory=dict)
    locations: Mapping[str, Mapping[str, LocationSettings]] = field(default_factory=dict)
    contract: ContractFile | None = None
    image_preflight: bool = True


def activities_with(parts: Parts, client: Client) -> list[Callable[..., Any]]:
    """Return all activities, for registration with a worker.

    Args:
        parts: what they work with.
        client: the Temporal client, for those that ask it for workflows.
    """
    ledger = DisruptionLedger(parts.store, parts.policy.strategy)
    configurations = ServiceConfigurations(parts.store, parts.secrets, parts.user_data.keys)
    proofs = ProofActivities(parts.hosts, parts.service, parts.probe, configurations)
    window = parts.policy.replacement.window
    evaluation = BreakerEvaluation(parts.store, parts.limits, window)
    presence = Presence(parts.drivers, parts.hosts)
    files = parts.package_files
    releases = PinnedReleases(parts.repository, parts.store, files)
    image_fit = ImageFit(parts.store, releases)
    delivery = PackageDelivery(files, parts.repository, parts.store) if files else None
    images = ImageProviders(
        parts.drivers, parts.stagings, parts.image_folder, parts.fleet_owner, parts.locations
    )
    verifications = VerificationActivities(
        parts.store,
        parts.hosts,
        proofs,
        releases,
        client,
        evaluation,
        settings=parts.host_settings,
        keys=parts.user_data.keys,
    )
    swaps = HotSwapActivities(
        parts.hosts,
        proofs,
        parts.store,
        delivery,
        parts.host_settings,
        parts.user_data.keys,
    )
    resolving = ReleaseActivities(releases, parts.store, delivery)
    preflight = PreflightActivities(
        parts.hosts,
        releases,
        parts.store,
        parts.checks,
        HostParts(
            delivery,
            configurations,
            HostSettingsWriter(parts.host_settings, parts.user_data.keys)
            if parts.host_settings is not None
            else None,
            ImagePreflight(parts.contract) if parts.contract and parts.image_preflight else None,
        ),
    )
    return activities_of(
        RouteActivities(parts.store, evaluation),
        DisruptionActivities(parts.store, ledger),
        swaps,
        SwapRouteActivities(parts.store, swaps),
        proofs,
        ReplacementActivities(parts.store, ledger),
        resolving,
        ImageChoiceActivities(parts.store, image_fit),
        ImageContractActivities(parts.store, parts.hosts, parts.contract),
        ImageRolloutActivities(parts.store, image_fit, parts.checks),
        MachineActivities(
            parts.drivers,
            parts.user_data,
            parts.fleet_owner,
            parts.creations,
            parts.store.key_rotations.all,
            parts.store.image_use,
        ),
        FirstBootActivities(
            parts.user_data,
            parts.hosts,
            delivery,
            parts.host_settings,
            configurations,
            parts.drivers,
        ),
        EvidenceActivities(
            parts.hosts, parts.drivers, parts.store, (*parts.secrets.values(), *parts.passwords)
        ),
        NewKeyActivities(parts.store, parts.drivers, parts.fleet_owner),
        DrainActivities(parts.drain),
        DestructionActivities(
            Destroyer(
                store=parts.store,
                drivers=parts.drivers,
                owner=parts.fleet_owner,
                questions=MachineQuestions(parts.hosts, parts.service),
                host_keys=parts.host_keys,
                connectivity=parts.connectivity,
                breaker=evaluation,
            )
        ),
        RolloutActivities(parts.store, client),
        UndoActivities(parts.store),
        preflight,
        OpeningActivities(parts.store, resolving, preflight),
        GateCheckActivities(parts.checks),
        ObservationActivities(
            parts.store,
            presence,
            releases,
            parts.connectivity,
            parts.fleet_owner,
            client,
            BreakerSettings(parts.policy, parts.limits, parts.pool),
        ),
        verifications,
        LivenessActivities(parts.store, parts.liveness, parts.connectivity, parts.max_probes),
        ReplacementCheckActivities(parts.store, verifications, presence, parts.fleet_owner),
        RemediationActivities(parts.store, client),
        SweepActivities(parts.store, presence, parts.fleet_owner),
        ComparisonActivities(
            parts.store,
            presence,
            parts.hosts,
            proofs,
            releases,
            parts.fleet_owner,
        ),
        PoolActivities(parts.store, parts.pool, parts.policy.replacement, parts.limits),
        RetentionActivities(parts.store),
        KeyRotationActivities(parts.store, parts.keyed_hosts, parts.user_data.keys),
        ImagePruneActivities(parts.store, images),
        PublicationActivities(parts.store, images, image_fit),
        ImageRegionActivities(parts.store, images),
    )
