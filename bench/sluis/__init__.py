"""Sluis as a side of the comparison: its folder, its process."""
