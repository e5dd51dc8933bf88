"""`python -m starter.cli`, if the script `relight` is not on PATH."""

from starter.cli import main

main()
