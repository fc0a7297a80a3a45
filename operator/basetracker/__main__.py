"""`python -m basetracker` is the command line."""

from basetracker.cli import main

main()
