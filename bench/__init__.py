"""The measured comparisons."""
