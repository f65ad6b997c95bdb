"""What a gateway authenticates to its upstream with: references on our side, values that are never shown on theirs.

The platform masks every secret that it shows. Of ours it has references (in the marks) and seals, so that three things
are noticed without anybody seeing a secret: values that were emptied there, rows that somebody else wrote since, and
secrets that have another value here than when they were written.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, cast

from reconciler.core.model import Auth, SecretReference
from reconciler.errors import InputError
from reconciler.stores.contextforge.marks import Sealed, references_text, values_text
from reconciler.stores.rows import AUTH_WORDS, text_of, unknown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.core.model import Gateway
    from reconciler.stores.access import Access

    Row = Mapping[str, Any]
    Values = Mapping[str, str]
    Secrets = tuple[Values, str]

_AUTH_TYPES: Final = {word or "": kind for kind, word in AUTH_WORDS.items()}
_OAUTH_SETTINGS: Final = {"token_url": "tokenUrl", "client_id": "clientId"}
_OAUTH_SECRET: Final = "client_secret"  # noqa: S105 - the name of a field
_GRANT: Final = ("grant_type", "client_credentials")
_RESOLVABLE: Final = ("env", "file")
_UNREFERENCED: Final = SecretReference(cast("Any", "unknown"), "")


def auth_fields(auth: Auth, values: Values) -> dict[str, Any]:
    """Return the fields of the API that make a gateway authenticate like this, and in no other way.

    Raises:
        InputError: the platform cannot hold it.
    """
    settings = dict(auth.settings)
    fields: dict[str, Any] = {"auth_type": AUTH_WORDS[auth.type] or "", "oauth_config": {}}
    match auth.type:
        case "bearer":
            fields["auth_token"] = values["token"]
        case "basic":
            fields |= _basic(settings["username"], values["password"])
        case "headers":
            fields["auth_headers"] = [{"key": name, "value": value} for name, value in sorted(values.items())]
        case "queryParameter":
            fields |= {"auth_query_param_key": settings["name"], "auth_query_param_value": values["value"]}
        case "oauth":
            fields["oauth_config"] = _oauth_config(settings, values["clientSecret"])
    return fields


def masked(row: Row) -> Secrets:
    """Return the secrets that a row has, masked as it shows them: sending a mask back keeps what is behind it."""
    return _masked_values(row), text_of(row.get("clientKey"))


def _masked_values(row: Row) -> dict[str, str]:
    match _AUTH_TYPES.get(text_of(row.get("authType"))):
        case "bearer":
            found = {"token": row.get("authToken")}
        case "basic":
            found = {"password": row.get("authPassword")}
        case "headers":
            headers = row.get("authHeaders") or ()
            found = {text_of(each.get("key")): each.get("value") for each in headers if isinstance(each, dict)}
        case "queryParameter":
            found = {"value": row.get("authQueryParamValueMasked")}
        case "oauth":
            found = {"clientSecret": _oauth(row).get(_OAUTH_SECRET)}
        case _:
            found = {}
    return {purpose: text_of(value) for purpose, value in found.items() if value}


def auth_of(row: Row, sealed: Sealed) -> Auth:
    """Return how a row authenticates, with what stands for those secrets that it has."""
    references = dict(sealed.secrets)
    word = text_of(row.get("authType"))
    return Auth(
        cast("Any", _AUTH_TYPES.get(word) or unknown(word)),
        tuple(sorted(_settings(row).items())),
        tuple((purpose, references.get(purpose, _UNREFERENCED)) for purpose in sorted(_masked_values(row))),
    )


def client_key_of(row: Row, sealed: Sealed) -> SecretReference | None:
    """Return what stands for the client key of a row, None where it has none."""
    return (sealed.client_key or _UNREFERENCED) if row.get("clientKey") else None


def resolved(gateway: Gateway, access: Access) -> Secrets:
    """Return the secrets of a gateway's auth by purpose, and its client key or the empty string.

    Raises:
        InputError: one of them is not there.
    """
    return _values(gateway.auth.secrets, gateway.client_key, access)


def seal(gateway: Gateway, version: int, secrets: Secrets, access: Access) -> Sealed | None:
    """Return what is to stand for the secrets (as `resolved` gives them) of a row; None where it has none."""
    if not gateway.auth.secrets and gateway.client_key is None:
        return None
    bare = Sealed(gateway.auth.secrets, gateway.client_key, version)
    if access.seal is None:
        return bare
    return sealed_for(replace(bare, values=access.seal(values_text(gateway.name, *secrets))), gateway.name, access)


def sealed_for(sealed: Sealed, name: str, access: Access) -> Sealed:
    """Return what stands for the secrets of a row, with the seal that says that it is ours and of this version."""
    return sealed if access.seal is None else replace(sealed, references=access.seal(references_text(sealed, name)))


def as_written(sealed: Sealed | None, row: Row) -> Sealed:
    """Return what stands for the secrets of a row, unknown ones where it was written since we put them there."""
    if sealed is None:
        return Sealed((), None, 0)
    return sealed if row.get("version") == sealed.version else _unknown(sealed)


def outdated(sealed: Sealed, row: Row, access: Access) -> tuple[str, ...]:
    """Return the names of the attributes whose references point at other values now than when they were written.

    Only references that carry our seal are followed: whoever may write to the platform must not choose what is read
    here. Where they do not, nobody knows what stands behind them, and they count as outdated. A secret that cannot be
    had here and now says nothing, for plans are made without secrets too.
    """
    references = [*(each for _, each in sealed.secrets), *filter(None, [sealed.client_key])]
    if access.seal is None or any(each.kind not in _RESOLVABLE for each in references):
        return ()
    name, held = text_of(row.get("name")), {"client_key": sealed.client_key, "auth": sealed.secrets}
    if sealed.references == access.seal(references_text(sealed, name)) and _are_current(sealed, name, access):
        return ()
    return tuple(attribute for attribute, secret in held.items() if secret)


def _are_current(sealed: Sealed, name: str, access: Access) -> bool:
    try:
        secrets = _values(sealed.secrets, sealed.client_key, access)
    except InputError:
        return True
    return access.seal is None or sealed.values == access.seal(values_text(name, *secrets))


def _unknown(sealed: Sealed) -> Sealed:
    """Return the same with references that equal none of any manifest, and that nobody can resolve."""
    kind = cast("Any", "unknown")
    secrets = tuple((purpose, SecretReference(kind, each.name)) for purpose, each in sealed.secrets)
    return replace(
        sealed, secrets=secrets, client_key=sealed.client_key and SecretReference(kind, sealed.client_key.name)
    )


def _values(
    secrets: tuple[tuple[str, SecretReference], ...], client_key: SecretReference | None, access: Access
) -> Secrets:
    values = {purpose: access.secret(reference) for purpose, reference in secrets}
    return values, "" if client_key is None else access.secret(client_key)


def _basic(username: str, password: str) -> dict[str, str]:
    if ":" in username or ":" in password:
        raise InputError(
            "ContextForge cannot hold a basic user name or password with a colon: it would store the gateway and never"
            " list it again",
            fix="change the password, or use auth.type headers with the header Authorization",
        )
    return {"auth_username": username, "auth_password": password}


def _oauth_config(settings: Mapping[str, str], secret: str) -> dict[str, Any]:
    config: dict[str, Any] = {field: settings[name] for field, name in _OAUTH_SETTINGS.items()}
    return {**config, **dict([_GRANT]), _OAUTH_SECRET: secret, "scopes": settings.get("scopes", "").split()}


def _settings(row: Row) -> dict[str, str]:
    match _AUTH_TYPES.get(text_of(row.get("authType"))):
        case "basic":
            return {"username": text_of(row.get("authUsername"))}
        case "queryParameter":
            return {"name": text_of(row.get("authQueryParamKey"))}
        case "oauth":
            return _oauth_settings(_oauth(row))
        case _:
            return {}


def _oauth(row: Row) -> dict[str, Any]:
    config = row.get("oauthConfig")
    return config if isinstance(config, dict) else {}


def _oauth_settings(config: Mapping[str, Any]) -> dict[str, str]:
    """Return our words for an OAuth configuration, and any others as found: they differ from every manifest."""
    known = (*_OAUTH_SETTINGS, _GRANT[0], _OAUTH_SECRET, "scopes")
    settings = {name: text_of(config.get(field)) for field, name in _OAUTH_SETTINGS.items()}
    settings |= {text_of(field): "unknown" for field in config if field not in known}
    if config.get(_GRANT[0]) != _GRANT[1]:
        settings[_GRANT[0]] = text_of(config.get(_GRANT[0]))
    scopes = config.get("scopes")
    if scopes:
        settings["scopes"] = " ".join(map(text_of, scopes)) if isinstance(scopes, list) else text_of(scopes)
    return settings
