"""Tests of relay.control."""
