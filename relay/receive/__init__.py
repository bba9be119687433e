"""Envelope and bytes: who may send as whom, to whom, how much; a header that names exactly one author (promise: no open relay)."""
