"""Tests: stories, dialogues, properties, faults."""
