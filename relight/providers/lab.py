"""The driver of the lab: real Debian machines on this computer behind an API like a cloud's."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from pydantic import AwareDatetime, BaseModel, SecretStr, TypeAdapter

from relight.domain.machine import (
    MachineAtProvider,
    MachineRef,
    MachineStatus,
    Region,
)
from relight.domain.sweep.sweep import ProviderListing
from relight.providers.driver import (
    MachineConflictError,
    MachineSpec,
    ProviderCredentialsError,
    ProviderError,
    ProviderRateLimitedError,
    ProviderUnavailableError,
    adopted,
)


class _LabMachine(BaseModel):
    """A machine as the lab's API returns it."""

    id: str
    label: str
    region: str
    architecture: str
    status: str
    address: str | None = None
    created_at: AwareDatetime | None = None
    tags: Mapping[str, str] = {}


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
"""Every other status means that the machine will not start by itself."""

_OWNER, _GENERATION = "owner", "generation"


class LabDriver:
    """The machine key is the label; the lab allows one machine per label."""

    name = "lab"

    def __init__(
        self, url: str, token: SecretStr, timeout: timedelta = timedelta(seconds=10)
    ) -> None:
        self._http = httpx.AsyncClient(
            base_url=url,
            headers={"Authorization": f"Bearer {token.get_secret_value()}"},
            timeout=httpx.Timeout(timeout.total_seconds()),
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

    async def ensure(self, key: str, spec: MachineSpec) -> MachineAtProvider:
        """Adopt the machine of this key, or create it."""
        found = await self.find(key)
        if found is not None:
            return adopted(found, spec)
        body: dict[str, Any] = {
            "label": key,
            "region": spec.region,
            "user_data": spec.user_data.get_secret_value(),
            "tags": {_OWNER: spec.owner, _GENERATION: str(spec.generation)},
        }
        if spec.image is not None:
            body["image"] = spec.image
        answer = await self._call(f"create {key}", "POST", "/v1/machines", json=body)
        return self._machine(_LabMachine.model_validate(answer))

    async def find(self, key: str) -> MachineAtProvider | None:
        """Return the machine of this key."""
        found = await self._machines(label=key)
        if len(found) > 1:
            raise MachineConflictError(
                self.name, f"find {key}", f"{len(found)} machines have this label"
            )
        return found[0] if found else None

    async def list(self, region: str | None = None) -> ProviderListing:
        """Return every machine; the lab returns those of all regions in one answer."""
        asked_at = datetime.now(UTC)
        machines = await self._machines()
        return ProviderListing(
            provider=self.name,
            asked_at=asked_at,
            machines=tuple(each for each in machines if region in {None, each.region}),
        )

    async def destroy(self, machine: MachineRef) -> bool:
        """Request the machine's deletion."""
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

    async def console(self, machine: MachineRef) -> str | None:
        """Return the last lines of the machine's console."""
        path = f"/v1/machines/{machine.provider_id}/console"
        answer = await self._request(f"read the console of {machine.key}", "GET", path)
        return None if answer is None else answer.text

    async def close(self) -> None:
        """Close its connections."""
        await self._http.aclose()

    async def _machines(self, **query: str) -> tuple[MachineAtProvider, ...]:
        answer = await self._call("list machines", "GET", "/v1/machines", params=query)
        found = (self._machine(each) for each in _MACHINES.validate_python(answer))
        return tuple(sorted(found, key=lambda machine: machine.key))

    def _machine(self, found: _LabMachine) -> MachineAtProvider:
        return MachineAtProvider(
            key=found.label,
            provider=self.name,
            provider_id=found.id,
            region=found.region,
            architecture=found.architecture,
            status=_STATUSES.get(found.status, MachineStatus.FAILED),
            address=found.address,
            owner=found.tags.get(_OWNER),
            generation=_number(found.tags.get(_GENERATION, "")),
            created_at=found.created_at,
        )

    async def _call(
        self,
        attempted: str,
        method: str,
        path: str,
        *,
        absent_is_none: bool = False,
        **options: Any,
    ) -> Any:
        """Return the JSON of an answer, `{}` for an empty one.

        Raises:
            ProviderError: the request failed, or the path does not exist.
        """
        answer = await self._request(attempted, method, path, **options)
        if answer is None:
            if absent_is_none:
                return None
            raise ProviderError(self.name, attempted, f"there is no {path}")
        return answer.json() if answer.content else {}

    async def _request(
        self, attempted: str, method: str, path: str, **options: Any
    ) -> httpx.Response | None:
        """Return the answer; None for a 404. Raises as `_call`."""
        try:
            answer = await self._http.request(method, path, **options)
        except httpx.TransportError as error:
            raise ProviderUnavailableError(
                self.name, attempted, f"{type(error).__name__}: {error}"
            ) from error
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        if answer.is_success:
            return answer
        raise _error_for(answer.status_code)(
            self.name, attempted, f"{answer.status_code} {answer.text[:500]}"
        )


def _number(text: str) -> int | None:
    """Return a tag's number; None for anything else: foreign machines may have any text there."""
    return int(text) if text.isascii() and text.isdigit() else None


def _error_for(status: int) -> type[ProviderError]:
    if status == httpx.codes.TOO_MANY_REQUESTS:
        return ProviderRateLimitedError
    if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        return ProviderCredentialsError
    # Conflict: the label was taken after `find`, perhaps by our own request. Search again.
    if status >= 500 or status == httpx.codes.CONFLICT:
        return ProviderUnavailableError
    return ProviderError
