"""The environment, read once into one frozen object. Only `worker` and `starter` read it.

Every setting is an environment variable `RELIGHT_<NAME>`, or a line in the file `env` in the
home folder, where `relight up` writes what it started. Connecting to Temporal is the SDK's own
business: `TEMPORAL_ADDRESS`, `TEMPORAL_NAMESPACE`, `TEMPORAL_API_KEY`, `TEMPORAL_TLS_*`, or the
TOML file that `TEMPORAL_CONFIG_FILE` names.
"""

import json
import os
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal, Self, TypeVar

from pydantic import (
    AnyHttpUrl,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from relight.domain.breaker.breaker import BreakerLimits
from relight.domain.reconcile.plan import ReconcilePolicy

PROBE_LIMIT = timedelta(seconds=15)
"""How long a probe and its patience may take together. It is asked within a proof, and a worker
that is silent for 60 s is taken for lost."""


def _words(value: object) -> object:
    """Read a list of words as a variable holds it, in JSON; a list is left as it is."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        msg = 'it is no JSON list of words, as in ["check", "--fast"]'
        raise ValueError(msg) from None


class ServiceSettings(BaseModel):
    """The packaged daemon that the fleet runs. The defaults describe lantern-box.

    Attributes:
        package: the Debian package.
        unit: the systemd unit that it carries.
        executable: the file that the unit's main process runs.
        probe: how the daemon's health is asked for, from the control plane: `http` wants a 2xx,
            `tcp` a connection, `command` a program of yours that ends with exit code 0.
        probe_port: where `http` and `tcp` ask.
        probe_path: what `http` asks for.
        probe_command: the words of `command`, as a JSON list. It is told of the host in
            `RELIGHT_PROBE_ADDRESS` and `RELIGHT_PROBE_MACHINE`. What it says is kept with proofs
            and faults, and so are its words: no secret may stand there.
        probe_timeout: how long one answer may take.
        probe_patience: how long it is asked again while nobody listens, as just after a start;
            a command says so with exit code 75.
        files: a folder of jinja templates for the daemon's configuration and environment
            files, laid out as on the host; None for the ones in `templates/daemon`.
        secrets_file: `NAME=value` lines that those templates can name and that no message
            ever holds.
    """

    model_config = ConfigDict(frozen=True)

    package: str = "lantern-box"
    unit: str = "lantern-box.service"
    executable: str = "/usr/bin/lantern-box"
    probe: Literal["http", "tcp", "command"] = "http"
    probe_port: int = Field(default=8899, ge=1, le=65535)
    probe_path: str = "/healthz"
    probe_command: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_words)] = ()
    probe_timeout: timedelta = Field(default=timedelta(seconds=3), gt=timedelta(0))
    probe_patience: timedelta = Field(default=timedelta(seconds=5), ge=timedelta(0))
    files: Path | None = None
    secrets_file: Path | None = None

    # Not as a ValueError: pydantic would make one of its own of it, which shows every value.
    @model_validator(mode="after")
    def _probe_can_be_asked(self) -> Self:
        if self.probe == "command" and not self.probe_command:
            msg = (
                "RELIGHT_SERVICE__PROBE_COMMAND is not set, and RELIGHT_SERVICE__PROBE is `command`"
            )
            raise SettingsError(msg)
        if self.probe_timeout + self.probe_patience > PROBE_LIMIT:
            msg = (
                "RELIGHT_SERVICE__PROBE_TIMEOUT and RELIGHT_SERVICE__PROBE_PATIENCE are more than "
                f"{PROBE_LIMIT.total_seconds():g} s together"
            )
            raise SettingsError(msg)
        return self


CHECK_LIMIT = timedelta(minutes=10)
"""How long a gate's check may take: less than the worker gives it."""


class PrometheusCheckSettings(BaseModel):
    """A gate's check that is an instant query of Prometheus.

    It passes where the query gives a scalar, or a vector of at least one sample, and every value
    is within the bounds. NaN is within none.

    Attributes:
        url: Prometheus, without `/api/v1`.
        query: PromQL. The words `$release` and `$scope` are replaced by the rollout's (`v0.0.74`;
            `fleet` or `track:NAME`). Neither can have a quote or a backslash in it, so that both
            may stand in a string: `version="$release"`.
        at_most: the greatest value that passes.
        at_least: the least; one of the two is set.
        timeout: how long the answer may take.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["prometheus"]
    url: AnyHttpUrl
    query: str = Field(min_length=1)
    at_most: float | None = Field(default=None, allow_inf_nan=False)
    at_least: float | None = Field(default=None, allow_inf_nan=False)
    timeout: timedelta = Field(default=timedelta(seconds=10), gt=timedelta(0), le=CHECK_LIMIT)

    @model_validator(mode="after")
    def _can_pass(self) -> Self:
        least, most = self.at_least, self.at_most
        if least is None and most is None:
            msg = "it has neither at_most nor at_least, so that nothing would be compared"
            raise ValueError(msg)
        if least is not None and most is not None and least > most:
            msg = "at_least is more than at_most, so that nothing would pass"
            raise ValueError(msg)
        return self


class CommandCheckSettings(BaseModel):
    """A gate's check that is a program of yours, which runs beside the worker.

    It passes with exit code 0; with 75 it is asked again later; with any other it does not pass.
    It is told of the rollout in `RELIGHT_ROLLOUT_TAG`, `RELIGHT_ROLLOUT_SCOPE` and
    `RELIGHT_ROLLOUT_WAVE`. Its last words are kept: no secret may stand there.

    Attributes:
        command: the program and its arguments; no shell reads them.
        timeout: how long it may take; then it is killed, with all that it started.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["command"]
    command: tuple[str, ...] = Field(min_length=1)
    timeout: timedelta = Field(default=timedelta(minutes=1), gt=timedelta(0), le=CHECK_LIMIT)


GateCheckSettings = PrometheusCheckSettings | CommandCheckSettings

GateChecks = dict[
    Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,46}[a-z0-9])?$")],
    Annotated[GateCheckSettings, Field(discriminator="kind")],
]
_GATE_CHECKS: TypeAdapter[GateChecks] = TypeAdapter(GateChecks)


# Not left to pydantic, whose own error shows every value: an address may have a password in it.
def _gate_checks(value: object) -> GateChecks:
    """Read the named checks as a variable holds them, in JSON."""
    try:
        return _GATE_CHECKS.validate_python(json.loads(value) if isinstance(value, str) else value)
    except ValidationError as error:
        wrong = "; ".join(
            f"{'.'.join(map(str, each['loc']))}: {each['msg'].removeprefix('Value error, ')}"
            for each in error.errors()
        )
        raise SettingsError(f"RELIGHT_GATE_CHECKS: {wrong}") from None
    except ValueError:
        msg = 'RELIGHT_GATE_CHECKS is no JSON object, as in {"smoke": {"kind": "command", ...}}'
        raise SettingsError(msg) from None


ConnectivityChecks = tuple[
    Annotated[str, StringConstraints(pattern=r"^(https?|tcp)://[^/\s]+\S*$")], ...
]
"""Addresses that can be asked whether they are there."""


DRAIN_LIMIT = timedelta(hours=1)
"""How long a drain may take: less than the worker gives it."""


class DrainSettings(BaseModel):
    """A program of yours that has a route's users leave its old machine, before that is destroyed.

    It runs beside the worker, and is told what it is about in `RELIGHT_DRAIN_ROUTE`,
    `RELIGHT_DRAIN_MACHINE` and `RELIGHT_DRAIN_ADDRESS`. Exit code 0 means drained; any other, or
    the deadline, keeps nothing up. It may be run twice. No secret may stand in what it says.

    Attributes:
        command: the program and its arguments, as a JSON list; no shell reads them. Without any
            nothing is waited for.
        deadline: how long it may take; then it is killed, with all that it started.
    """

    model_config = ConfigDict(frozen=True)

    command: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_words)] = ()
    deadline: timedelta = Field(default=timedelta(minutes=5), gt=timedelta(0), le=DRAIN_LIMIT)


class RepositorySettings(BaseModel):
    """The signed apt repository that carries the daemon's releases.

    Attributes:
        url: its address, as hosts and the control plane both reach it.
        suite: the suite under `dists/`.
        component: the component of that suite.
        signing_key: the file with its public key, armoured or binary.
    """

    model_config = ConfigDict(frozen=True)

    url: str = ""
    suite: str = "stable"
    component: str = "main"
    signing_key: Path | None = None


class GitHubSettings(BaseModel):
    """The GitHub repository whose releases carry the daemon's packages, in place of an apt one.

    Attributes:
        repository: `OWNER/NAME`; releases come from there where it is set.
        api_url: where its REST API answers.
        download_url: where its files are fetched, which is all that the hosts will fetch.
        token_file: the file with a token, for GitHub answers few questions to the nameless. The
            hosts fetch without one, so what they fetch must be public.
    """

    model_config = ConfigDict(frozen=True)

    repository: str = ""
    api_url: str = "https://api.github.com"
    download_url: str = "https://github.com"
    token_file: Path | None = None


class SshSettings(BaseModel):
    """How the control plane comes to a host.

    Attributes:
        user: the unprivileged user that it logs in as.
        port: where sshd listens.
        client_key: the file with its private key, in OpenSSH's form.
        host_key_secret: the file with the secret from which every machine's host key is
            derived; at least 32 bytes.
        connect_timeout: for one attempt, login included.
    """

    model_config = ConfigDict(frozen=True)

    user: str = "relight"
    port: int = 22
    client_key: Path | None = None
    host_key_secret: Path | None = None
    connect_timeout: timedelta = timedelta(seconds=10)


class LabSettings(BaseModel):
    """The small cloud on this computer.

    Attributes:
        url: the address of its API; the `lab` provider is offered where it is set.
        token_file: the file with its API token.
    """

    model_config = ConfigDict(frozen=True)

    url: str = ""
    token_file: Path | None = None


class WorkerSettings(BaseModel):
    """Which of several versions of the worker's code a worker is (`docs/deploying-workers.md`).

    Attributes:
        deployment: the name that all versions share, such as `relight`. Without one a worker is
            unversioned, and takes whatever work there is.
        build_id: what tells this version from the others, such as a commit or an image's digest.
    """

    model_config = ConfigDict(frozen=True)

    deployment: str = ""
    build_id: str = ""

    @model_validator(mode="after")
    def _version_has_a_name(self) -> Self:
        if self.deployment and not self.build_id:
            msg = "RELIGHT_WORKER__BUILD_ID is not set, and RELIGHT_WORKER__DEPLOYMENT is"
            raise SettingsError(msg)
        if set(self.deployment) & set(".:") or self.deployment.startswith("__"):
            msg = (
                f"RELIGHT_WORKER__DEPLOYMENT is {self.deployment}: Temporal takes no name that"
                " has a dot or a colon in it, or begins with two underscores"
            )
            raise SettingsError(msg)
        return self


def home_folder() -> Path:
    """Return where Relight keeps its state: `RELIGHT_HOME`, else `.relight` in this folder."""
    return Path(os.environ.get("RELIGHT_HOME", ".relight")).absolute()


class Settings(BaseSettings):
    """Everything that differs from one installation to the next.

    Attributes:
        store_url: the store: `sqlite:///FILE` or `postgresql+psycopg://...`.
        fleet_owner: what this control plane's machines are tagged with at their providers. Those
            that bear another tag, or none, it neither adopts nor destroys. Two control planes
            that share an account need two; one that changes it gives all its machines up.
        task_queue: the Temporal task queue of the workers.
        stability_window: how long a unit must be seen to run before it is proven.
        log_format: `console` or `json`.
        gate_checks: what a rollout can have asked after each wave, by name, as a JSON object:
            `{"errors": {"kind": "prometheus", "url": "http://prometheus:9090", "query": "...",
            "at_most": 0.01}, "smoke": {"kind": "command", "command": ["/usr/local/bin/smoke"]}}`.
            A rollout names them (`--check errors`), and none is asked that it does not name.
        witnesses: places that are known to be up, as a JSON list of `https://...`, `http://...`
            and `tcp://HOST:PORT`: while none of them is reached, nothing is destroyed. Without
            any, the place that releases come from is asked.
        reconcile_every: how often a pass of reconciliation begins, once `relight schedule apply`
            has said so to Temporal: `PT5M`.
        reconcile: how much a pass does, and when a host is repaired, replaced or left to a person
            (`relight/domain/reconcile/plan.py`): `RELIGHT_RECONCILE__PROOF_LASTS=PT6H`,
            `RELIGHT_RECONCILE__REPLACEMENT__SIGHTED_FOR=PT20M`.
        breaker: when nothing is destroyed any more, and how much is destroyed until then
            (`relight/domain/breaker/breaker.py`): `RELIGHT_BREAKER__DESTROYED_PER_HOUR=4`.
        sweep_grace: how old a machine, a record or an operation is before a sweep touches it.
    """

    model_config = SettingsConfigDict(
        env_prefix="RELIGHT_",
        env_nested_delimiter="__",
        env_ignore_empty=True,
        # To set one budget leaves the others as they are.
        nested_model_default_partial_update=True,
        frozen=True,
        extra="ignore",
    )

    home: Path = Field(default_factory=home_folder)
    store_url: SecretStr = SecretStr("")
    fleet_owner: Annotated[
        str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,46}[a-z0-9])?$")
    ] = "relight"
    task_queue: str = "relight"
    stability_window: timedelta = timedelta(seconds=10)
    log_format: str = "console"
    connectivity: Annotated[ConnectivityChecks, NoDecode, BeforeValidator(_words)] = ()
    reconcile_every: Annotated[timedelta, Field(ge=timedelta(seconds=10))] = timedelta(minutes=5)
    reconcile: ReconcilePolicy = ReconcilePolicy()
    breaker: BreakerLimits = BreakerLimits()
    sweep_grace: Annotated[timedelta, Field(gt=timedelta(0))] = timedelta(hours=1)
    gate_checks: Annotated[GateChecks, NoDecode, BeforeValidator(_gate_checks)] = {}
    service: ServiceSettings = ServiceSettings()
    drain: DrainSettings = DrainSettings()
    repository: RepositorySettings = RepositorySettings()
    github: GitHubSettings = GitHubSettings()
    ssh: SshSettings = SshSettings()
    lab: LabSettings = LabSettings()
    worker: WorkerSettings = WorkerSettings()

    @property
    def database_url(self) -> str:
        """The store's address: the one that was set, else a SQLite file in the home folder."""
        return self.store_url.get_secret_value() or f"sqlite:///{self.home / 'fleet.db'}"


class SettingsError(Exception):
    """A setting is missing that what was asked for needs; the text names its variable."""


Value = TypeVar("Value")


def required(value: Value | None, *path: str) -> Value:
    """Return a setting's value.

    Args:
        value: what it is set to.
        path: its place in `Settings`, as in `"ssh", "client_key"`.

    Raises:
        SettingsError: it is not set.
    """
    if value is None or value == "":
        variable = "RELIGHT_" + "__".join(path).upper()
        msg = f"{variable} is not set; `relight up` sets it for a lab of your own"
        raise SettingsError(msg)
    return value


def load_settings() -> Settings:
    """Read the environment, and the home folder's `env` file beneath it.

    Raises:
        pydantic.ValidationError: a setting has a value that it cannot have.
    """
    return Settings(_env_file=home_folder() / "env")
