"""Where and how much: addresses, folders, limits, keys. Who and what is policy."""
