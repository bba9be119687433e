"""Tests of relay.audit."""
