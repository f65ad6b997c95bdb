from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from contract import StoreContract

from reconciler.errors import InputError
from reconciler.stores import open_store
from reconciler.stores.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciler.core.ports import Store


class TestMemoryStore(StoreContract):
    @pytest.fixture
    def opened(self) -> Callable[[], Store]:
        store: Store = MemoryStore()
        return lambda: store


def test_each_memory_store_is_its_own() -> None:
    assert open_store("memory:", create=True) is not open_store("memory:", create=True)


def test_a_memory_store_with_a_name_is_refused() -> None:
    with pytest.raises(InputError, match="has no name"):
        open_store("memory:shared", create=True)
