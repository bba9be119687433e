"""Sockets, TLS, limits and the SMTP dialogue. Promise: DATA streams to the spool, one line discipline, and no second message hides in
the first.
"""
