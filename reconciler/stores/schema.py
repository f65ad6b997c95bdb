"""The tables of an SQL store, as steps forward. A step that was released is never edited: another one follows it.

`gateways` has ContextForge's column names where they mean the same. Columns of our own stand where it has no place:
references to secrets, the trust policy, and what only Kuadrant knows. Secrets have no column.
"""

from __future__ import annotations

from typing import Final

_GATEWAYS = """
CREATE TABLE gateways (
    id                   TEXT NOT NULL PRIMARY KEY,
    name                 TEXT NOT NULL UNIQUE,
    slug                 TEXT NOT NULL UNIQUE,
    url                  TEXT NOT NULL,
    description          TEXT,
    transport            TEXT,
    enabled              BOOLEAN NOT NULL DEFAULT 1,
    visibility           TEXT NOT NULL DEFAULT 'private',
    tags                 JSON NOT NULL DEFAULT '[]',
    passthrough_headers  JSON,
    ca_certificate       TEXT,
    ca_certificate_sig   TEXT,
    signing_algorithm    TEXT,
    system_trust         BOOLEAN NOT NULL DEFAULT 1,
    client_cert          TEXT,
    client_key_reference JSON,
    auth_type            TEXT,
    auth_reference       JSON,
    gateway_mode         TEXT NOT NULL DEFAULT 'cache',
    team_id              TEXT,
    kuadrant             JSON,
    created_at           TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
    created_by           TEXT,
    created_via          TEXT,
    modified_at          TIMESTAMP,
    modified_by          TEXT,
    modified_via         TEXT,
    version              INTEGER NOT NULL DEFAULT 1
)
"""

_STAMPS = """
CREATE TABLE reconciler_stamps (
    gateway_id TEXT NOT NULL PRIMARY KEY REFERENCES gateways (id) ON DELETE CASCADE,
    owner      TEXT NOT NULL,
    manifest   TEXT NOT NULL,
    revision   TEXT NOT NULL,
    digest     TEXT NOT NULL,
    protected  BOOLEAN NOT NULL,
    stamped_at TIMESTAMP NOT NULL
)
"""

_RECORD: Final = "ALTER TABLE gateways ADD COLUMN record_sig TEXT"

STEPS: Final = ((_GATEWAYS, _STAMPS), (_RECORD,))
