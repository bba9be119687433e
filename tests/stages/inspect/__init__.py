"""Tests of the inspect stage."""
