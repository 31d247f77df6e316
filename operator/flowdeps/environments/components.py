"""The list of what an environment is made of: CycloneDX, the same bytes for the same lock.

The lock has hashes of all wheels of a version that fit its platforms, so a component has several.
Which index a package is from is not known, and a purl without one is that of its name alone.
"""

import json
import uuid
from typing import Any

from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from flowdeps.locks.lock import Lock, Pin

MEDIA_TYPE = "application/vnd.cyclonedx+json"


def components_of(lock: Lock, *, name: str, platform: str) -> bytes:
    """Return the components of a lock on a platform, for a set of this name."""
    subject = Component(name=name, version=lock.digest, type=ComponentType.APPLICATION)
    subject.bom_ref.value = "set"
    bom = Bom(
        serial_number=uuid.uuid5(uuid.NAMESPACE_OID, f"{name} {lock.digest} {platform}"),
        components=[_component(pin) for pin in lock.on(platform).values()],
    )
    bom.metadata.component = subject
    bom.register_dependency(subject, bom.components)
    content: dict[str, Any] = json.loads(JsonV1Dot6(bom).output_as_string())
    del content["metadata"]["timestamp"]  # the library always sets one
    return json.dumps(content, sort_keys=True).encode()


def _component(pin: Pin) -> Component:
    purl = PackageURL("pypi", name=pin.name, version=pin.version)
    hashes = [
        HashType(alg=HashAlgorithm.SHA_256, content=one.removeprefix("sha256:"))
        for one in pin.hashes
    ]
    return Component(
        name=pin.name,
        version=pin.version,
        type=ComponentType.LIBRARY,
        bom_ref=purl.to_string(),
        purl=purl,
        hashes=hashes,
    )
