"""Looking at processes that are not our children."""

from pathlib import Path


def alive(pid: int) -> bool:
    """Say whether a process runs. One that only waits to be reaped does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in {"Z", "X"}
