"""The published JSON Schemas, as shipped: inside the wheel, or beside the package in a checkout. Nothing is fetched."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from reconciler.errors import ReconcilerError

if TYPE_CHECKING:
    from reconciler.core.schema import Schemas

_KINDS: Final = {"Gateway": "gateway", "Defaults": "defaults", "Config": "config", "Keyring": "keyring"}


def schema_texts() -> dict[str, str]:
    """Return the text of every schema by its file name.

    Raises:
        ReconcilerError: this installation lacks one of them.
    """
    directory = _directory()
    names = sorted(f"{name}.v1.schema.json" for name in _KINDS.values())
    try:
        return {name: (directory / name).read_text(encoding="utf-8") for name in names}
    except OSError as error:
        message = f"the schema {error.filename} cannot be read: {error.strerror}"
        raise ReconcilerError(message, fix="install the package again") from None


@cache
def load_schemas() -> Schemas:
    """Return the schemas by kind, ready to decide and to explain.

    Raises:
        ReconcilerError: this installation lacks one of them.
    """
    from reconciler.core.schema import Schemas

    texts = schema_texts()
    return Schemas({kind: texts[f"{name}.v1.schema.json"] for kind, name in _KINDS.items()})


def _directory() -> Path:
    package = Path(__file__).parent
    shipped = package / "schemas"
    return shipped if shipped.is_dir() else package.parent / "schemas"
