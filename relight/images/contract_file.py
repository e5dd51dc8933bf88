"""Reads a contract, and knows in which line of its file each part is."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml
from pydantic import ValidationError

from relight.domain.text import visible_head
from relight.images.contract import Contract

DEFAULT_CONTRACT = Path(__file__).parent / "contract.yaml"
"""The contract of lantern-box."""

MAX_CONTRACT_BYTES = 256 * 1024

Place = tuple[str | int, ...]
"""The keys and positions that lead to a part, as in `("files", 2, "mode")`."""


class ContractError(Exception):
    """A file is not a contract. The text names the file, and the line where there is one."""


@dataclass(frozen=True)
class ContractFile:
    """A contract as its file has it.

    Attributes:
        contract: what it says.
        name: of the file, without its folder.
        lines: the 1-based line of each part by its place.
    """

    contract: Contract
    name: str
    lines: Mapping[Place, int]

    @property
    def sha256(self) -> str:
        """The digest of what it says: comments and defaults that are written out do not count."""
        said = self.contract.model_dump(mode="json", exclude_defaults=True)
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()

    def line(self, *place: str | int) -> int:
        """Return the line of a part; of what holds it, if the file leaves it to its default."""
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines[place]


def read_contract(path: Path = DEFAULT_CONTRACT) -> ContractFile:
    """Read a contract.

    Raises:
        ContractError: the file cannot be read, or is no contract.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_CONTRACT_BYTES + 1)
    except OSError as error:
        raise ContractError(f"{path}: {error.strerror}") from error
    if len(content) > MAX_CONTRACT_BYTES:
        raise ContractError(f"{path} has more than {MAX_CONTRACT_BYTES} bytes")
    return parse_contract(content, path.name)


def parse_contract(content: bytes, name: str) -> ContractFile:
    """Return the contract in a file.

    Args:
        content: of the file, in UTF-8.
        name: of the file, without its folder.

    Raises:
        ContractError: it is no contract.
    """
    try:
        if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(content)):
            raise ContractError(f"{name} has an alias: each part needs a line of its own")
        node = yaml.compose(content, yaml.SafeLoader)
        if not isinstance(node, yaml.MappingNode):
            raise ContractError(f"{name} is not a contract: it has no sections")
        lines = dict(_lines(node, (), name))
        data = yaml.safe_load(content)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ContractError(f"{name}: {_one_line(str(error))}") from error
    try:
        contract = Contract.model_validate(data)
    except ValidationError as error:
        raise ContractError("; ".join(_wrong(error, lines, name))) from None
    return ContractFile(contract, name, lines)


def _lines(node: yaml.Node, place: Place, name: str) -> Iterator[tuple[Place, int]]:
    """Yield the line of a part and of all its parts.

    Raises:
        ContractError: a key is there twice, of which YAML takes the last, or is no text.
    """
    yield place, node.start_mark.line + 1
    if isinstance(node, yaml.SequenceNode):
        for number, part in enumerate(node.value):
            yield from _lines(part, (*place, number), name)
    elif isinstance(node, yaml.MappingNode):
        seen = set()
        for key, part in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise ContractError(f"{name}:{line}: a key is no text")
            if key.value in seen:
                raise ContractError(f"{name}:{line}: {key.value} is there twice")
            seen.add(key.value)
            yield from _lines(part, (*place, key.value), name)
            yield (*place, key.value), line


def _wrong(error: ValidationError, lines: Mapping[Place, int], name: str) -> Iterator[str]:
    for each in error.errors(include_input=False, include_url=False):
        place = each["loc"]
        known = place
        while known and known not in lines:
            known = known[:-1]
        words = each["msg"].removeprefix("Value error, ")
        yield f"{name}:{lines[known]} {'.'.join(map(str, place))}: {words}"


def _one_line(text: str) -> str:
    return visible_head(" ".join(text.split()), 300)
