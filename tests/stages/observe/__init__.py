"""Tests of relay.observe."""
