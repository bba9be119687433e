"""Bytes to parts, under limits. Promise: every body byte belongs to a part, preamble or epilogue, and what two readers could read in two
ways is a finding.
"""

from relay.read.reader import Result, read

__all__ = ["Result", "read"]
