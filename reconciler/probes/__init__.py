"""Probes: one look at an upstream, with real sockets. TLS first, then the MCP conversation over the same connection.

A probe reads no environment, no store and no signing key, follows no redirect, and is bounded in time and in bytes. A
failure of any kind is an `Observation`, never an exception.

    wire       one line to an upstream: resolve, connect, send, count, and errors with their facts
    tunnel     the way through a proxy
    tls        contexts, and the chain a server presents, also when the handshake fails
    dialer     connections that are secured in two lights: the bundle alone, then with the system's CAs
    http1      HTTP/1.1 over one connection
    channel    requests to one server, over as few connections as they can
    token      an OAuth token, over the same trust
    mcp        the two transports of MCP over HTTP
    upstream   one probe, and many at a time
"""

from reconciler.probes.upstream import all_at_once, probe, probe_all

__all__ = ["all_at_once", "probe", "probe_all"]
