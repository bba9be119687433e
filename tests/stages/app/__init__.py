"""Tests of relay.app."""
