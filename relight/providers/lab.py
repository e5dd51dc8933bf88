"""The driver of the lab: real Debian machines on this computer behind an API like a cloud's."""

import base64
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from urllib.parse import quote

from pydantic import (
    AwareDatetime,
    BaseModel,
    IPvAnyAddress,
    JsonValue,
    SecretStr,
    StringConstraints,
    TypeAdapter,
)

from relight.domain.machine import (
    MachineAtProvider,
    MachineRef,
    MachineStatus,
    Region,
)
from relight.domain.sweep.sweep import ProviderListing
from relight.providers.api import ProviderApi, Response
from relight.providers.driver import (
    MachineConflictError,
    MachineSpec,
    ProviderAnswerError,
    UserDataLimit,
    adopted,
)
from relight.providers.lab_images import LabImages
from relight.providers.tags import number_of

Name = Annotated[str, StringConstraints(min_length=1, max_length=255)]


class _LabMachine(BaseModel):
    """A machine as the lab's API returns it."""

    id: Name
    label: Name
    region: Name
    architecture: Annotated[str, StringConstraints(pattern="^[a-z0-9][a-z0-9-]{0,31}$")]
    status: str
    address: IPvAnyAddress | None = None
    created_at: AwareDatetime | None = None
    tags: Mapping[str, str] = {}
    image: str | None = None


class _LabRegion(BaseModel):
    name: Name
    architecture: str


_MACHINE = TypeAdapter(_LabMachine)
_MACHINES: TypeAdapter[list[JsonValue]] = TypeAdapter(list[JsonValue])
_REGIONS = TypeAdapter(list[_LabRegion])

_STATUSES = {
    "provisioning": MachineStatus.PROVISIONING,
    "running": MachineStatus.RUNNING,
    "deleting": MachineStatus.DELETING,
}
"""Every other status means that the machine will not start by itself."""

_OWNER, _GENERATION, _CREATED_BY = "owner", "generation", "created-by"


class LabDriver(LabImages):
    """The machine key is the label; the lab allows one machine per label."""

    user_data_limit: UserDataLimit | None = None

    def __init__(
        self, url: str, token: SecretStr, timeout: timedelta = timedelta(seconds=10)
    ) -> None:
        headers = {"Authorization": f"Bearer {token.get_secret_value()}"}
        super().__init__(ProviderApi(self.name, url, headers, timeout))

    async def regions(self) -> tuple[Region, ...]:
        """Return every region."""
        response = await self._api.existing("list regions", "GET", "/v1/regions")
        found = response.read(_REGIONS)
        found.sort(key=lambda region: region.name)
        return response.understood(
            lambda: tuple(
                Region(provider=self.name, name=each.name, architecture=each.architecture)
                for each in found
            )
        )

    async def ensure(self, key: str, spec: MachineSpec) -> MachineAtProvider:
        """Adopt the machine of this key, or create it."""
        found = await self.find(key)
        if found is not None:
            return adopted(found, spec)
        body: dict[str, Any] = {
            "label": key,
            "region": spec.region,
            "user_data": base64.b64encode(spec.user_data.get_secret_value()).decode(),
            "tags": {_OWNER: spec.owner, _GENERATION: str(spec.generation)},
        }
        if spec.created_by:
            body["tags"][_CREATED_BY] = spec.created_by
        if spec.image is not None:
            body["image"] = spec.image
        response = await self._api.existing(f"create {key}", "POST", "/v1/machines", json=body)
        created = self._machine(response, response.read(_MACHINE))
        if created.key != key:
            raise response.unreadable(f"it is about {created.key}")
        return created

    async def find(self, key: str) -> MachineAtProvider | None:
        """Return the machine of this key."""
        attempted = f"find {key}"
        response = await self._api.existing(attempted, "GET", "/v1/machines", params={"label": key})
        entries = response.read(_MACHINES)
        # Each has to be understood: one that is not may be the machine.
        machines = [self._entry(response, entry) for entry in entries]
        found = [machine for machine in machines if machine.key == key]
        if len(found) > 1:
            raise MachineConflictError(
                self.name, attempted, f"{len(found)} machines have this label"
            )
        return found[0] if found else None

    async def get(self, provider_id: str) -> MachineAtProvider | None:
        """Return the machine with this id."""
        path = f"/v1/machines/{quote(provider_id, safe='')}"
        response = await self._api.request(f"find {provider_id}", "GET", path)
        if response is None:
            return None
        return self._machine(response, _about(provider_id, response))

    async def list(self, region: str | None = None) -> ProviderListing:
        """Return every machine; the lab returns those of all regions in one answer.

        A machine whose entry is not understood is left out, and the listing is incomplete.
        """
        asked_at = datetime.now(UTC)
        response = await self._api.existing("list machines", "GET", "/v1/machines")
        machines: list[MachineAtProvider] = []
        complete = True
        for entry in response.read(_MACHINES):
            try:
                machines.append(self._entry(response, entry))
            except ProviderAnswerError:
                complete = False
        return ProviderListing(
            provider=self.name,
            asked_at=asked_at,
            machines=tuple(
                sorted(
                    (each for each in machines if region in {None, each.region}),
                    key=lambda machine: machine.key,
                )
            ),
            complete=complete,
        )

    async def destroy(self, machine: MachineRef) -> bool:
        """Request the machine's deletion."""
        path = f"/v1/machines/{quote(machine.provider_id, safe='')}"
        attempted = f"destroy {machine.key}"
        response = await self._api.request(attempted, "GET", path)
        if response is None:
            return False
        found = _about(machine.provider_id, response)
        if found.label != machine.key:
            raise MachineConflictError(
                self.name, attempted, f"{machine.provider_id} is labelled {found.label}"
            )
        response = await self._api.request(attempted, "DELETE", path)
        if response is not None:
            response.read(_MACHINE)
        return response is not None

    async def console(self, machine: MachineRef) -> str | None:
        """Return the last lines of the machine's console."""
        path = f"/v1/machines/{quote(machine.provider_id, safe='')}/console"
        response = await self._api.request(f"read the console of {machine.key}", "GET", path)
        return None if response is None else response.text

    async def image_of(self, provider_id: str) -> str | None:
        """Return the id of the named image that a machine was made of."""
        path = f"/v1/machines/{quote(provider_id, safe='')}"
        response = await self._api.request(f"find the image of {provider_id}", "GET", path)
        return None if response is None else _about(provider_id, response).image

    async def close(self) -> None:
        """Close its connections."""
        await self._api.close()

    def _entry(self, response: Response, entry: JsonValue) -> MachineAtProvider:
        return self._machine(response, response.understood(lambda: _MACHINE.validate_python(entry)))

    def _machine(self, response: Response, found: _LabMachine) -> MachineAtProvider:
        return response.understood(
            lambda: MachineAtProvider(
                key=found.label,
                provider=self.name,
                provider_id=found.id,
                region=found.region,
                architecture=found.architecture,
                status=_STATUSES.get(found.status, MachineStatus.FAILED),
                address=None if found.address is None else str(found.address),
                owner=found.tags.get(_OWNER),
                generation=number_of(found.tags.get(_GENERATION, "")),
                created_by=found.tags.get(_CREATED_BY),
                created_at=found.created_at,
            )
        )


def _about(provider_id: str, response: Response) -> _LabMachine:
    """Return the machine that a response about one has.

    Raises:
        ProviderAnswerError: it is not understood, or is about another machine.
    """
    found = response.read(_MACHINE)
    if found.id != provider_id:
        raise response.unreadable(f"it is about {found.id}, not {provider_id}")
    return found
