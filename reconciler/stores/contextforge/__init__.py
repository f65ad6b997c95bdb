"""An IBM ContextForge installation as a store: `contextforge+https://HOST[:PORT][/PREFIX]`, through its REST API alone.

    address.py      the URL, the token and the private CA of the platform itself
    wire.py         one call: bounded, timed, redirects refused, every failure a `CallError`
    failures.py     what an answer that is not a success means, and what to do
    marks.py        what we leave in the tags of a gateway: stamp, record, and references in place of secrets
    credentials.py  what a gateway authenticates with: references <-> the fields of the API, values masked
    rows.py         a gateway as the API writes and shows it
    writing.py      one change: written, waited for, and compared with what was to be written
    calling.py      a tool called through the platform, as a proof
    store.py        reading everything, and writing one gateway after the other

Its database is never touched: the platform keeps copies of rows for up to a minute and has no constraint that would
catch a mistake. There are no transactions either, so of an apply each gateway stands for itself.
"""
