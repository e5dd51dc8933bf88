"""The output of a failed command, for people: without the progress that apt and dpkg print.

What is recorded stays whole.
"""

import re
from collections.abc import Iterable

_LINE_END = re.compile(r"\n|\r|\\r")
"""A recorded text has a carriage return as the two characters of its escape."""

_PROGRESS = re.compile(
    r"""\s*(?:
        \(?Reading\ database\ \.\.\.
        | (?:Get|Hit):\d+\s
        | \d+%\ \[
        | Progress:\ \[
        | Fetched\ \d
        | Reading\ package\ lists
        | Building\ dependency\ tree
        | Reading\ state\ information
        | Need\ to\ get\ \d
        | After\ this\ operation
        | \d+\ upgraded,\ \d+\ newly\ installed
        | Selecting\ previously\ unselected\ package
        | Preparing\ to\ unpack
        | $
    )""",
    re.VERBOSE,
)


def without_progress(lines: Iterable[str]) -> list[str]:
    r"""Return the lines of an output that are no progress of apt or dpkg, split at `\r` as well.

    If there is nothing else, all are returned.
    """
    split = [part.rstrip() for line in lines for part in _LINE_END.split(line)]
    return [line for line in split if not _PROGRESS.match(line)] or split
