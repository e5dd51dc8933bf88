"""The environment, read once into one frozen object. Only `worker` and `starter` read it.

Every setting is an environment variable `RELIGHT_<NAME>`, or a line in the file `env` in the home
folder, where `relight up` writes what it started. Those of the service may also stand in a file of
their own, which counts after both (`relight/service_file.py`). A duration is `30m`, as in options,
or `PT30M`.
Home folder, store and Temporal are those of the context (`relight/context.py`). A context that the
environment makes is configured by the SDK's own variables: `TEMPORAL_ADDRESS`,
`TEMPORAL_NAMESPACE`, `TEMPORAL_API_KEY`, `TEMPORAL_TLS_*`, or the TOML file that
`TEMPORAL_CONFIG_FILE` names. Files with its certificates, API key and payload keys are settings of
Relight (`relight/temporal_settings.py`).
"""

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PrivateAttr,
    SecretStr,
    StringConstraints,
    ValidationError,
)
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)
from pydantic_settings import SettingsError as UnparsedError

from relight.context import Context, current_context, require_readable
from relight.domain.breaker.breaker import BreakerLimits
from relight.domain.duration import Duration
from relight.domain.pool.tries import PoolPolicy
from relight.domain.reconcile.plan import MAX_VERIFICATIONS, ReconcilePolicy
from relight.domain.retention import Retention
from relight.gate_check_settings import GateChecks, read_gate_checks
from relight.provider_settings import ProvidersFileSource
from relight.service_file import IGNORED, ServiceFileSource
from relight.setting_groups import (
    ConnectivityChecks,
    DirectorySettings,
    DrainSettings,
    GitHubSettings,
    ImageSettings,
    LabSettings,
    LimitSettings,
    LivenessSettings,
    PackageSettings,
    RepositorySettings,
    ServiceSettings,
    SettingsError,
    SshSettings,
    WorkerSettings,
    words,
)
from relight.temporal_settings import CodecSettings, TemporalSettings


def home_folder() -> Path:
    """Return where Relight keeps its state: the home folder of the context."""
    return current_context().home


def _fitting(policy: ReconcilePolicy) -> ReconcilePolicy:
    """Check that what a run may plan fits into a plan.

    Not in the model: schedules and histories have policies of before.
    """
    if policy.max_verifications > MAX_VERIFICATIONS:
        raise ValueError(
            f"max_verifications is {policy.max_verifications}: "
            f"one run verifies {MAX_VERIFICATIONS} hosts at most"
        )
    return policy


class Settings(BaseSettings):
    """Everything that differs between installations.

    Attributes:
        store_url: the store: `sqlite:///FILE` or `postgresql+psycopg://...`.
        store_password_file: the file with the password of the user in a PostgreSQL `store_url`.
        fleet_owner: the tag of this control plane's machines at their providers. Machines with
            another tag, or none, are neither adopted nor destroyed. Two control planes of one
            account need two tags; after a change of the tag all present machines are lost.
        task_queue: the Temporal task queue of the workers.
        stability_window: how long a unit must run before it is proven.
        log_format: `console` or `json`.
        gate_checks: the checks that a rollout may name (`--check errors`), as a JSON object:
            `{"errors": {"kind": "prometheus", "url": "http://prometheus:9090", "query": "...",
            "max_value": 0.01}, "smoke": {"kind": "command", "command": ["/usr/local/bin/smoke"]}}`.
        connectivity_checks: addresses that are known to be up, as a JSON list of `https://...`,
            `http://...` and `tcp://HOST:PORT`: while none of them answers, nothing is destroyed.
            Default: the address that releases come from.
        reconcile_every: how often a reconcile run starts, once `relight schedule apply` has been
            run: `PT5M`.
        reconcile: how much one reconcile run does, and when a host is repaired, replaced or
            quarantined (`relight/domain/reconcile/plan.py`): `RELIGHT_RECONCILE__PROOF_LASTS=PT6H`,
            `RELIGHT_RECONCILE__REPLACEMENT__UNREACHABLE_FOR=PT20M`.
        pool: how often a pool tries to make a machine ready before a person is asked.
        breaker: when nothing is destroyed, and how much is destroyed otherwise
            (`relight/domain/breaker/breaker.py`): `RELIGHT_BREAKER__DESTROYED_PER_HOUR=4`.
        store_retention: how long the store keeps what has ended (`relight store prune`), once
            `relight schedule apply` has been run: `P180D`.
        service_file: the service file; by default `service.toml` in the home folder, if it exists
            (`relight/service_file.py`).
        providers: how to log in to each cloud, and what its regions offer, by the driver's name
            (`relight/providers/locations.py`): `RELIGHT_PROVIDERS__LINODE__TOKEN_FILE=FILE`.
        providers_file: the same in TOML, where regions are easier to write; by default
            `providers.toml` in the home folder, if it exists.
        sweep_grace: the least age of a machine, a record or an operation that a sweep touches.
    """

    model_config = SettingsConfigDict(
        env_prefix="RELIGHT_",
        env_nested_delimiter="__",
        env_ignore_empty=True,
        # One budget can be set without the others.
        nested_model_default_partial_update=True,
        frozen=True,
        extra="ignore",
    )

    home: Path = Field(default_factory=home_folder)
    store_url: SecretStr = SecretStr("")
    store_password_file: Path | None = None
    fleet_owner: Annotated[
        str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,46}[a-z0-9])?$")
    ] = "relight"
    task_queue: str = "relight"
    stability_window: Duration = timedelta(seconds=10)
    log_format: str = "console"
    connectivity_checks: Annotated[ConnectivityChecks, NoDecode, BeforeValidator(words)] = ()
    reconcile_every: Annotated[Duration, Field(ge=timedelta(seconds=10))] = timedelta(minutes=5)
    reconcile: Annotated[ReconcilePolicy, AfterValidator(_fitting)] = ReconcilePolicy()
    breaker: BreakerLimits = BreakerLimits()
    pool: PoolPolicy = PoolPolicy()
    store_retention: Retention = timedelta(days=180)
    sweep_grace: Annotated[Duration, Field(gt=timedelta(0))] = timedelta(hours=1)
    gate_checks: Annotated[GateChecks, NoDecode, BeforeValidator(read_gate_checks)] = {}
    service_file: Path | None = None
    service: ServiceSettings = ServiceSettings()
    drain: DrainSettings = DrainSettings()
    repository: RepositorySettings = RepositorySettings()
    more_repositories: tuple[RepositorySettings, ...] = ()
    github: GitHubSettings = GitHubSettings()
    directory: DirectorySettings = DirectorySettings()
    packages: PackageSettings = PackageSettings()
    ssh: SshSettings = SshSettings()
    liveness: LivenessSettings = LivenessSettings()
    lab: LabSettings = LabSettings()
    providers: dict[str, dict[str, Any]] = {}
    providers_file: Path | None = None
    images: ImageSettings = ImageSettings()
    limits: LimitSettings = LimitSettings()
    worker: WorkerSettings = WorkerSettings()
    temporal: TemporalSettings = TemporalSettings()
    codec: CodecSettings = CodecSettings()

    _context: Context | None = PrivateAttr(default=None)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return where settings come from; the first that has one counts."""
        del file_secret_settings
        files = ServiceFileSource(settings_cls), ProvidersFileSource(settings_cls)
        return init_settings, env_settings, dotenv_settings, *files

    @classmethod
    def of(cls, context: Context, *, ignore_service_file: bool = False) -> Self:
        """Read the settings of a context.

        Args:
            context: the context.
            ignore_service_file: leave the service as by default: for a command that writes its
                file, which need not exist, nor be one that can be used.

        Raises:
            ContextError: this account may not read its home folder.
            pydantic.ValidationError: a setting has a value that it cannot have.
        """
        require_readable(context.home)
        given: dict[str, Any] = {"home": context.home, IGNORED: ignore_service_file}
        if context.store_url:
            given["store_url"] = SecretStr(context.store_url)
        settings = cls(_env_file=context.home / "env", **given)
        settings._context = context
        return settings

    @property
    def context(self) -> Context:
        """The context that they are of."""
        return self._context or current_context()

    @property
    def has_embedded_store(self) -> bool:
        """Whether the store is the SQLite file in the home folder, because none was set."""
        return not self.store_url.get_secret_value()

    @property
    def image_folder(self) -> Path:
        """Where the disks of base images and their manifests are."""
        return self.images.folder or self.home / "images"

    @property
    def store_file(self) -> Path:
        """The SQLite file in the home folder, which is the store if none was set."""
        return self.home / "fleet.db"


Value = TypeVar("Value")


def required(value: Value | None, *path: str) -> Value:
    """Return a setting's value.

    Args:
        value: its value.
        path: its path in `Settings`, as in `"ssh", "client_key"`.

    Raises:
        SettingsError: it is not set.
    """
    if value is None or value == "":
        variable = "RELIGHT_" + "__".join(path).upper()
        msg = (
            f"{variable} is not set, neither in the environment nor in {home_folder() / 'env'};"
            " `relight up` sets it for a lab of your own"
        )
        raise SettingsError(msg)
    return value


def load_settings(*, to_make: bool = False, ignore_service_file: bool = False) -> Settings:
    """Read the environment; the home folder's `env` file gives what it lacks.

    Args:
        to_make: a home may be made there, so the context in use is not taken.
        ignore_service_file: as of `Settings.of`.

    Raises:
        ContextError: the context is unknown, or not one.
        pydantic.ValidationError: a setting has a value that it cannot have.
        SettingsError: a setting is no JSON where it has to be.
    """
    try:
        context = current_context(to_make=to_make)
        return Settings.of(context, ignore_service_file=ignore_service_file)
    except UnparsedError as error:
        # Its text has no value, which can be a secret.
        raise SettingsError(f"RELIGHT_*: {error}: it has to be JSON") from None


def bad_values_text(error: ValidationError) -> str:
    """Return what is wrong with values, without the values: they can be secrets.

    Settings are named by their variables.
    """
    is_settings = error.title == Settings.__name__
    lines = [
        "these settings cannot be used:"
        if is_settings
        else f"{error.title} cannot have these values:"
    ]
    for each in error.errors(include_input=False, include_url=False):
        parts = [str(part) for part in each["loc"]]
        name = "RELIGHT_" + "__".join(parts).upper() if is_settings else ".".join(parts)
        lines.append(f"{name}: {each['msg'].removeprefix('Value error, ')}")
    return "\n".join(lines)
