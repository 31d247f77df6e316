"""A flow image: how pods of a namespace get it, and what it has. Values only, for all to import."""

import hashlib
from dataclasses import dataclass, field
from datetime import datetime

from flowdeps.api.names import image_facts_name
from flowdeps.locks.image import ImageFacts


@dataclass(frozen=True)
class ImageRef:
    """An image as pods of a namespace get it."""

    namespace: str
    image: str
    pull_policy: str | None = None
    """None: Kubernetes' default."""
    user: tuple[int | None, int | None] = (None, None)
    """The user and group that the template gives to runs; None: none, and ours run as nobody."""

    def __str__(self) -> str:
        return f"{self.image} in {self.namespace}"

    @property
    def is_fixed(self) -> bool:
        """Whether its name says what it has: it is a digest, which no push can move."""
        return "@sha256:" in self.image

    @property
    def facts_name(self) -> str:
        """The name of the ConfigMap that keeps what the image has."""
        return image_facts_name(self.short)

    @property
    def short(self) -> str:
        """Ten hex digits that name it in its namespace."""
        text = f"{self.image}\n{self.pull_policy or ''}\n{self.user}"
        return hashlib.sha256(text.encode()).hexdigest()[:10]


@dataclass(frozen=True)
class Image:
    """What an image has."""

    ref: ImageRef
    id: str
    """The digest that a node reports for its content."""
    facts: ImageFacts
    probed_at: datetime | None = field(default=None, compare=False)
