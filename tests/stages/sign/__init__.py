"""Tests of the sign stage."""
