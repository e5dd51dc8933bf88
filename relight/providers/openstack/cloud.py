"""A cloud of `clouds.yaml`, the file that all clients of OpenStack read.

Secrets may stand in a second file, `secure.yaml`, whose values are merged into those of the first.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    HttpUrl,
    JsonValue,
    SecretStr,
    ValidationError,
    model_validator,
)

from relight.domain.error_words import error_words
from relight.providers.locations import SecretFileError

MAX_FILE_BYTES = 256 * 1024

LOGINS = {
    "password": "password",
    "v3password": "password",
    "v3applicationcredential": "application_credential",
}
"""The values of `auth_type` that are understood, each with keystone's word for it."""


class CloudFileError(SecretFileError):
    """A file of clouds cannot be used; the text names the file and the key, never a value."""


@dataclass(frozen=True)
class Cloud:
    """One cloud, and how to log in to it.

    Attributes:
        auth_url: of keystone's API, version 3.
        interface: which endpoints of the catalog are used: `public`, `internal` or `admin`.
        cacert: the file of the authority that signed its certificates; None for those of the
            system.
        login: the body of the request of a token. It contains the password.
    """

    auth_url: str
    interface: str
    cacert: Path | None
    login: Mapping[str, JsonValue] = field(repr=False)


class _Auth(BaseModel):
    """The keys of `auth`; numbers are texts here, because YAML reads an id of digits as one."""

    model_config = ConfigDict(coerce_numbers_to_str=True)

    auth_url: HttpUrl
    username: str | None = None
    user_id: str | None = None
    user_domain_name: str | None = None
    user_domain_id: str | None = None
    password: SecretStr | None = None
    project_name: str | None = None
    project_id: str | None = None
    project_domain_name: str | None = None
    project_domain_id: str | None = None
    domain_name: str | None = None
    domain_id: str | None = None
    application_credential_id: str | None = None
    application_credential_name: str | None = None
    application_credential_secret: SecretStr | None = None


class _Entry(BaseModel):
    auth: _Auth
    auth_type: Literal["password", "v3password", "v3applicationcredential"] = "password"
    interface: Literal["public", "internal", "admin"] = "public"
    cacert: Path | None = None
    verify: Literal[True] = True

    @model_validator(mode="before")
    @classmethod
    def _without_profile(cls, values: Any) -> Any:
        if isinstance(values, dict) and (values.get("profile") or values.get("cloud")):
            msg = "`profile` is not read: write its auth_url and interface here"
            raise ValueError(msg)
        return values


def read_cloud(clouds_file: Path, name: str, secure_file: Path | None = None) -> Cloud:
    """Return a cloud of a file.

    Args:
        clouds_file: `clouds.yaml`.
        name: of the cloud in it.
        secure_file: `secure.yaml`, of the same form; None if `clouds_file` has the secrets.

    Raises:
        CloudFileError: a file cannot be read, or its cloud is not complete.
    """
    values = _clouds(clouds_file)
    if name not in values:
        known = ", ".join(sorted(map(str, values))) or "none"
        raise CloudFileError(f"{clouds_file}: clouds: there is no {name}; its clouds: {known}")
    entry = values[name]
    if secure_file is not None:
        entry = _merged(entry, _clouds(secure_file).get(name, {}))
    try:
        read = _Entry.model_validate(entry)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        key = ".".join(map(str, ("clouds", name, *first["loc"])))
        raise CloudFileError(f"{clouds_file}: {key}: {first['msg']}") from None
    try:
        login = _login(read)
    except _MissingError as error:
        raise CloudFileError(f"{clouds_file}: clouds.{name}.auth: {error}") from None
    url = str(read.auth.auth_url).rstrip("/")
    return Cloud(
        auth_url=url if url.endswith("/v3") else f"{url}/v3",
        interface=read.interface,
        cacert=read.cacert,
        login=login,
    )


class _MissingError(Exception):
    """A key of `auth` is missing."""


def _clouds(file: Path) -> dict[Any, Any]:
    try:
        with file.open("rb") as opened:
            content = opened.read(MAX_FILE_BYTES + 1)
        if len(content) > MAX_FILE_BYTES:
            raise CloudFileError(f"{file} has more than {MAX_FILE_BYTES} bytes")
        values = yaml.safe_load(content)
    except OSError as error:
        raise CloudFileError(f"{file} cannot be read: {error_words(error)}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        # The words of YAML's error repeat the line, which may have the password.
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark else ""
        raise CloudFileError(f"{file} is no YAML{where}") from None
    clouds = values.get("clouds") if isinstance(values, dict) else None
    if not isinstance(clouds, dict):
        raise CloudFileError(f"{file}: it has no `clouds`")
    return clouds


def _merged(below: Any, above: Any) -> Any:
    if isinstance(below, dict) and isinstance(above, dict):
        return below | {key: _merged(below.get(key), value) for key, value in above.items()}
    return above


def _login(entry: _Entry) -> dict[str, JsonValue]:
    """Return the body of the request of a token.

    Raises:
        _MissingError: a key is missing.
    """
    auth = entry.auth
    method = LOGINS[entry.auth_type]
    if method == "application_credential":
        return {"auth": {"identity": {"methods": [method], method: _credential(auth)}}}
    if auth.password is None:
        raise _MissingError("password is missing; it may stand in the file of secrets")
    user = _user(auth) | {"password": auth.password.get_secret_value()}
    project = _named(auth.project_id, auth.project_name, _project_domain(auth), "project")
    return {
        "auth": {
            "identity": {"methods": [method], method: {"user": user}},
            "scope": {"project": project},
        }
    }


def _credential(auth: _Auth) -> dict[str, JsonValue]:
    if auth.application_credential_secret is None:
        raise _MissingError(
            "application_credential_secret is missing; it may stand in the file of secrets"
        )
    secret: dict[str, JsonValue] = {"secret": auth.application_credential_secret.get_secret_value()}
    if auth.application_credential_id is not None:
        return secret | {"id": auth.application_credential_id}
    if auth.application_credential_name is None:
        raise _MissingError("application_credential_id or application_credential_name is missing")
    return secret | {"name": auth.application_credential_name, "user": _user(auth)}


def _user(auth: _Auth) -> dict[str, JsonValue]:
    domain = _domain(auth.user_domain_id, auth.user_domain_name) or _domain(
        auth.domain_id, auth.domain_name
    )
    return _named(auth.user_id, auth.username, domain, "user")


def _project_domain(auth: _Auth) -> dict[str, JsonValue] | None:
    return _domain(auth.project_domain_id, auth.project_domain_name) or _domain(
        auth.domain_id, auth.domain_name
    )


def _domain(domain_id: str | None, name: str | None) -> dict[str, JsonValue] | None:
    if domain_id is not None:
        return {"id": domain_id}
    return None if name is None else {"name": name}


def _named(
    of_id: str | None, name: str | None, domain: dict[str, JsonValue] | None, what: str
) -> dict[str, JsonValue]:
    """Return what names a user or a project to keystone: an id, or a name within a domain."""
    if of_id is not None:
        return {"id": of_id}
    if name is None:
        key = "username" if what == "user" else f"{what}_name"
        raise _MissingError(f"{what}_id or {key} is missing")
    if domain is None:
        raise _MissingError(f"{what}_domain_id or {what}_domain_name is missing")
    return {"name": name, "domain": domain}
