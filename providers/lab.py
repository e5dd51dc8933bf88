"""The lab's API: real Debian machines on this computer, sold like a cloud's."""

from collections.abc import Sequence
from typing import Any

import httpx
from pydantic import BaseModel, SecretStr, TypeAdapter

from messages.machine import Machine, MachineRef, MachineStatus, Region
from providers.driver import MachineSpec
from providers.errors import (
    MachineConflictError,
    ProviderCredentialsError,
    ProviderError,
    ProviderRateLimitedError,
    ProviderUnavailableError,
)


class _LabMachine(BaseModel):
    """A machine as the lab's API tells of it."""

    id: str
    label: str
    region: str
    architecture: str
    status: str
    address: str | None = None


class _LabRegion(BaseModel):
    name: str
    architecture: str


_MACHINES = TypeAdapter(list[_LabMachine])
_REGIONS = TypeAdapter(list[_LabRegion])

_STATUSES = {
    "provisioning": MachineStatus.PROVISIONING,
    "running": MachineStatus.RUNNING,
    "deleting": MachineStatus.DELETING,
}
"""Every other word of the lab's means that the machine will not come up by itself."""


class LabDriver:
    """The machine key is the label, and the lab admits one machine of a label at a time."""

    name = "lab"

    def __init__(self, url: str, token: SecretStr) -> None:
        self._http = httpx.AsyncClient(
            base_url=url,
            headers={"Authorization": f"Bearer {token.get_secret_value()}"},
            timeout=httpx.Timeout(10),
        )

    async def region(self, name: str) -> Region | None:
        """Return the region of this name."""
        regions = _REGIONS.validate_python(await self._call("list regions", "GET", "/v1/regions"))
        for region in regions:
            if region.name == name:
                return Region(
                    provider=self.name, name=region.name, architecture=region.architecture
                )
        return None

    async def ensure(self, key: str, spec: MachineSpec) -> Machine:
        """Adopt the machine of this key, or create it."""
        found = await self.find(key)
        if found is not None:
            return found
        body = {
            "label": key,
            "region": spec.region,
            "user_data": spec.user_data.get_secret_value(),
        }
        if spec.image is not None:
            body["image"] = spec.image
        answer = await self._call(f"create {key}", "POST", "/v1/machines", json=body)
        return self._machine(_LabMachine.model_validate(answer))

    async def find(self, key: str) -> Machine | None:
        """Return the machine of this key."""
        found = await self._machines(label=key)
        if len(found) > 1:
            raise MachineConflictError(
                self.name, f"find {key}", f"{len(found)} machines have this label"
            )
        return found[0] if found else None

    async def list(self) -> Sequence[Machine]:
        """Return every machine of the lab."""
        return await self._machines()

    async def destroy(self, machine: MachineRef) -> bool:
        """Ask for the machine's end."""
        path = f"/v1/machines/{machine.provider_id}"
        attempted = f"destroy {machine.key}"
        answer = await self._call(attempted, "GET", path, absent_is_none=True)
        if answer is None:
            return False
        label = _LabMachine.model_validate(answer).label
        if label != machine.key:
            raise MachineConflictError(
                self.name, attempted, f"{machine.provider_id} is labelled {label}"
            )
        answer = await self._call(attempted, "DELETE", path, absent_is_none=True)
        return answer is not None

    async def close(self) -> None:
        """Close its connections."""
        await self._http.aclose()

    async def _machines(self, **query: str) -> Sequence[Machine]:
        answer = await self._call("list machines", "GET", "/v1/machines", params=query)
        return sorted(
            (self._machine(found) for found in _MACHINES.validate_python(answer)),
            key=lambda machine: machine.key,
        )

    def _machine(self, found: _LabMachine) -> Machine:
        return Machine(
            key=found.label,
            provider=self.name,
            provider_id=found.id,
            region=found.region,
            architecture=found.architecture,
            status=_STATUSES.get(found.status, MachineStatus.FAILED),
            address=found.address,
        )

    async def _call(
        self,
        attempted: str,
        method: str,
        path: str,
        *,
        absent_is_none: bool = False,
        **request: Any,
    ) -> Any:
        """Return the answer's JSON.

        Raises:
            ProviderError: with what was attempted and what came back.
        """
        try:
            answer = await self._http.request(method, path, **request)
        except httpx.TransportError as error:
            raise ProviderUnavailableError(
                self.name, attempted, f"{type(error).__name__}: {error}"
            ) from error
        if answer.status_code == httpx.codes.NOT_FOUND and absent_is_none:
            return None
        if answer.is_success:
            return answer.json() if answer.content else {}
        raise _error_for(answer.status_code)(
            self.name, attempted, f"{answer.status_code} {answer.text[:500]}"
        )


def _error_for(status: int) -> type[ProviderError]:
    if status == httpx.codes.TOO_MANY_REQUESTS:
        return ProviderRateLimitedError
    if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        return ProviderCredentialsError
    # A label that is taken: somebody, perhaps we, created it since we looked. Look again.
    if status >= 500 or status == httpx.codes.CONFLICT:
        return ProviderUnavailableError
    return ProviderError
