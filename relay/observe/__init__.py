"""Logs, metrics, health and the balance."""
