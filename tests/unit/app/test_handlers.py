"""What kopf is told to do with the objects that it watches."""

from types import SimpleNamespace
from typing import Any, cast

import kopf
import pytest

from flowdeps.api.config import Config
from flowdeps.app.handlers import watch
from flowdeps.app.service import Service


async def test_kopf_makes_no_copy_of_a_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of ten thousand objects none is copied for handlers of changes, for there are none, and
    nothing that is kept for them is written to an object. And whoever writes ConfigMaps does not
    decide how much a page of a list holds."""
    told: dict[str, Any] = {}

    async def operator(**arguments: Any) -> None:
        told.update(arguments)

    monkeypatch.setattr(kopf, "operator", operator)
    service = SimpleNamespace(context=SimpleNamespace(config=Config()))
    await watch(cast("Service", service))
    storage = told["settings"].persistence.diffbase_storage
    body = kopf.Body(cast("Any", {"data": {"requirements.txt": "alpha==1.0"}}))
    patch = kopf.Patch()
    assert storage.build(body=body, extra_fields=None) == {}
    assert storage.fetch(body=body) is None
    storage.store(body=body, patch=patch, essence=storage.build(body=body))
    assert not patch
    assert not told["registry"]._changing.get_all_handlers()
    # Of a page, kopf holds the bytes, their text and the objects at once.
    assert told["settings"].watching.chunk_size <= 8
