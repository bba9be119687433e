"""Seeded mutations of real messages: parsed, or a finding."""
