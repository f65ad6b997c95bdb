"""A private PKI and real MCP servers on this machine, for the demonstration and for tests. Nothing outlives the run."""
