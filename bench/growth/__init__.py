"""What ten million deliveries do to the relay: generated, then measured. `python -m bench.growth --help`."""
