"""Replay at full size: a million messages of many kinds, as the shipped policy decided them, decided again."""
