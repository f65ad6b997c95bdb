"""Kuadrant's MCP Gateway through the Kubernetes API: one registration for each gateway, and what belongs to it.

`objects` says what a gateway is in Kubernetes, `rows` what such objects say of a gateway; neither speaks to anybody.
`wire` makes calls, `fencing` says whether we still may, `writing` puts them in order, and `store` is the port.
"""
