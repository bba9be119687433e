"""Relays with a bug that the checker must find: programs as `python -m relay` is, started by a test only. What a fault test finds nothing
in proves something only if it finds these."""
