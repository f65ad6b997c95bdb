"""The daemon: it decides when a pass is made, and never what a change means.

settling    when is the tree quiet?              (pure)
backoff     when is what failed tried again?     (pure)
tree        the tree in memory, compiled in proportion to what changed
watching    file events of a directory; links and their parents
pulling     commits of a git remote, verified before anything else
worker      one target: passes, drift, healing, what is held and what waits
probes      upstreams looked at beside the passes, so that a dead one delays nobody
board       how things stand, for whoever asks
events      what happened, once, and that it is over
loop        the threads, signals and the order in which they begin and end
web         the HTTP server: health, metrics, status page, webhook
"""
