"""`python -m gtr.cli`, where the command `gtr` is not on the path."""

from gtr.cli import main

main()
