"""The published JSON Schemas, as shipped: inside the wheel, or beside the package in a checkout. Nothing is fetched."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from reconciler.core.schema import Schemas

_KINDS: Final = {"Gateway": "gateway", "Defaults": "defaults", "Config": "config"}


def schema_texts() -> dict[str, str]:
    """Return the text of every schema by its file name."""
    directory = _directory()
    return {path.name: path.read_text(encoding="utf-8") for path in sorted(directory.glob("*.schema.json"))}


@cache
def load_schemas() -> Schemas:
    """Return the schemas by kind, ready to decide and to explain."""
    from reconciler.core.schema import Schemas

    texts = schema_texts()
    return Schemas({kind: texts[f"{name}.v1.schema.json"] for kind, name in _KINDS.items()})


def _directory() -> Path:
    package = Path(__file__).parent
    shipped = package / "schemas"
    return shipped if shipped.is_dir() else package.parent / "schemas"
