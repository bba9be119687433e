"""Sluis beside what people run today, on one machine, in one run: rates, reply times, and processor time a message. `make bench`."""
