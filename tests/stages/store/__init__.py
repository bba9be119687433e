"""Tests of relay.store."""
