"""What a provider's API may say that is not so: answers about machines, changed on their way."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import httpx


class Lie(StrEnum):
    """What is said about some machines."""

    LEFT_OUT = "left out of the listing"
    HIDDEN = "not there, whoever asks"
    EMPTY = "an empty listing"
    TWICE = "shown twice"
    COPIED = "shown again under another id"
    OF_ANOTHER = "shown as another owner's"
    DELETING = "shown as being deleted"


@dataclass(frozen=True)
class ListingLie:
    """A lie and the machines that it is about.

    Attributes:
        labels: of the machines; an empty listing concerns all.
    """

    lie: Lie
    labels: frozenset[str]

    def told(self, path: str, status: int, body: bytes) -> tuple[int, bytes]:
        """Return the status and the body of an answer, as the liar changes it.

        Args:
            path: what was asked for, with its query: a listing, a search by label, one machine.
            status: of the true answer.
            body: of the true answer.
        """
        parts = path.partition("?")
        resource, query = parts[0].removeprefix("/v1/machines"), parts[2]
        if status != httpx.codes.OK or resource == parts[0] or resource.count("/") > 1:
            return status, body
        answer = json.loads(body)
        if resource:
            return self._one(answer)
        return status, json.dumps(self._several(answer, search="label=" in query)).encode()

    def _one(self, machine: Mapping[str, Any]) -> tuple[int, bytes]:
        if machine["label"] in self.labels and self.lie is Lie.HIDDEN:
            return httpx.codes.NOT_FOUND, b'{"detail": "there is no such machine"}'
        return httpx.codes.OK, json.dumps(self._changed(machine)).encode()

    def _several(self, machines: list[dict[str, Any]], *, search: bool) -> list[dict[str, Any]]:
        if self.lie is Lie.EMPTY:
            return machines if search else []
        about = [each for each in machines if each["label"] in self.labels]
        others = [each for each in machines if each["label"] not in self.labels]
        match self.lie:
            case Lie.HIDDEN:
                return others
            case Lie.LEFT_OUT:
                return machines if search else others
            case Lie.TWICE:
                return [*machines, *about]
            case Lie.COPIED:
                return [*machines, *({**each, "id": f"copy-{each['id']}"} for each in about)]
        return [self._changed(each) for each in machines]

    def _changed(self, machine: Mapping[str, Any]) -> dict[str, Any]:
        if machine["label"] in self.labels and self.lie is Lie.OF_ANOTHER:
            return {**machine, "tags": {**machine["tags"], "owner": "somebody-else"}}
        if machine["label"] in self.labels and self.lie is Lie.DELETING:
            return {**machine, "status": "deleting"}
        return dict(machine)
