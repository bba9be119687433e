"""Malware, true type, archives, encrypted content. Promise: only a literal OK is clean; hostile bytes are touched in processes that
may die.
"""
