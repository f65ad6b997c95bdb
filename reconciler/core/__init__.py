"""The pure core: bytes and values in, values or problems out.

No files, network, clock, environment, logging or threads. Everything here can be called from a test with literals.
"""
