"""`python -m relay` is the `sluis` command."""

from relay.cli import main

main()
