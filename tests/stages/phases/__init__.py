"""Tests of relay.phases."""
