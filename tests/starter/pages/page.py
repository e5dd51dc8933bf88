"""The consoles of a page: what a reader types, in order."""

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[3]

_CONSOLE = re.compile(r"```console\n(.*?)```", re.DOTALL)


@dataclass(frozen=True)
class Line:
    """A line that a reader types.

    Attributes:
        text: as on the page, without its comment.
    """

    text: str

    def words(self, filled: Mapping[str, str]) -> list[str]:
        """Return its words, with other values for the page's example values."""
        text = self.text
        for example, value in filled.items():
            text = text.replace(example, value)
        return shlex.split(text)


def lines_of(page: Path) -> Iterator[Line]:
    """Yield the lines of a page's consoles."""
    for console in _CONSOLE.findall(page.read_text()):
        for line in console.replace("\\\n", " ").splitlines():
            assert line.startswith("$ "), line
            yield Line(re.split(r"\s+# ", line.removeprefix("$ "))[0].strip())
