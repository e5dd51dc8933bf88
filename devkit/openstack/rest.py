"""Requests to OpenStack's services, as one user of one project."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from types import TracebackType
from typing import Any, Self

import httpx

from lab.errors import LabError

HOST = "controller"
"""The name of the computer, by which the services find each other."""

PORTS = {
    "identity": 5000,
    "image": 9292,
    "placement": 8778,
    "compute": 8774,
    "network": 9696,
}
"""The port of each service, by its type."""

_PATHS = {"compute": "/v2.1"}
_TIMEOUT = timedelta(minutes=5)


class RefusedError(LabError):
    """A service answered with another status than one of success."""


@dataclass(frozen=True)
class Login:
    """A user's login.

    Attributes:
        user: its name, in the domain `Default`.
        project: its name, in the domain `Default`.
    """

    user: str
    project: str
    password: str


def endpoint(host: str, service: str) -> str:
    """Return the URL of a service, as it is in the catalog."""
    return f"http://{host}:{PORTS[service]}{_PATHS.get(service, '')}"


class Rest:
    """The services at one address. It is a context manager, which logs in and closes."""

    def __init__(self, address: str, login: Login) -> None:
        self._address = address
        self._login = login
        self._http = httpx.AsyncClient(trust_env=False, timeout=_TIMEOUT.total_seconds())
        self.user_id = ""
        self.project_id = ""

    async def __aenter__(self) -> Self:
        named = {"name": self._login.user, "domain": {"id": "default"}}
        body = {
            "auth": {
                "identity": {
                    "methods": ["password"],
                    "password": {"user": {**named, "password": self._login.password}},
                },
                "scope": {"project": {"name": self._login.project, "domain": {"id": "default"}}},
            }
        }
        answer = await self._send("identity", "POST", "/v3/auth/tokens", json=body)
        token = answer.json()["token"]
        self.user_id, self.project_id = token["user"]["id"], token["project"]["id"]
        self._http.headers["X-Auth-Token"] = answer.headers["X-Subject-Token"]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def get(self, service: str, path: str) -> Any:
        """Return what is at a path.

        Raises:
            RefusedError: the service refused it.
            httpx.HTTPError: it did not answer.
        """
        return (await self._send(service, "GET", path)).json()

    async def post(self, service: str, path: str, body: Mapping[str, Any]) -> Any:
        """Create what a body describes, and return what the service says of it. Raises as `get`."""
        return (await self._send(service, "POST", path, json=body)).json()

    async def put(self, service: str, path: str, **options: Any) -> None:
        """Write to a path. Raises as `get`."""
        await self._send(service, "PUT", path, **options)

    async def patch(self, service: str, path: str, body: Mapping[str, Any]) -> None:
        """Change what is at a path. Raises as `get`."""
        await self._send(service, "PATCH", path, json=body)

    async def _send(self, service: str, method: str, path: str, **options: Any) -> httpx.Response:
        url = endpoint(self._address, service) + path
        answer = await self._http.request(method, url, **options)
        if not answer.is_success:
            raise RefusedError(f"{method} {url}: {answer.status_code} {answer.text[:500]}")
        return answer
