"""The file of a standalone Kuadrant broker as a store: `kuadrant+file:///etc/mcp-gateway/config.yaml`.

    files.py     reading and replacing files so that neither a crash nor the broker ever sees half of one
    marks.py     what the broker's file has no room for: stamps, signatures, references; kept in a file beside it
    rows.py      a gateway as a server of the broker's file, and back
    store.py     all of an apply or none of it, in the one rename of the broker's file
    broker.py    what the running broker makes of it, as its `/status` tells

`reconciler.core.broker_file` knows the file's form. Beside `config.yaml` lie `config.yaml.reconciler.json` (the marks),
`config.yaml.previous` (what it held before) and `config.yaml.lock`.
"""
