"""Tests of relay.record."""
