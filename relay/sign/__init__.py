"""Trace field and DKIM signatures. Promise: a prefix; the body is never touched."""
