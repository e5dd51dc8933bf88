"""`python -m starter.cli`, for where the script `relight` is not on PATH."""

from starter.cli import main

main()
