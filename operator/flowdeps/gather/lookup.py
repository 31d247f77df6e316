"""The interface by which a gathering looks things up, in a cluster or in files."""

from collections.abc import Mapping
from typing import Protocol

from flowdeps.api.config import Config
from flowdeps.api.outcome import Outcome
from flowdeps.api.reasons import Reason
from flowdeps.api.spec import SetSpec
from flowdeps.gather.sources import Absent, Content, SourceRef, Unreadable
from flowdeps.scheduling.tracking import Failure
from flowdeps.state.store import SetKey
from flowdeps.trials.image import Image, ImageRef


class Lookup(Protocol):
    """Looks up what one set names: in the operator's store and pollers, or in files.

    Nothing is waited for. None means that the answer is not known yet, and that the set is
    requeued when it is.
    """

    @property
    def key(self) -> SetKey:
        """The set's namespace and name."""

    @property
    def config(self) -> Config:
        """The operator's configuration."""

    def need_sources(self, refs: frozenset[SourceRef]) -> None:
        """Start to read these sources for the set; release all that it needed before."""

    def source(self, ref: SourceRef) -> Content | Failure[Reason] | None:
        """What a needed source holds."""

    def included(self, name: str) -> SetSpec | Absent | Unreadable:
        """The spec of another set in the namespace."""

    def image_ref(self, spec: SetSpec) -> ImageRef | Outcome | None:
        """The image that the set is for, as its pools' runs get it; None: nobody names one."""

    def need_image(self, ref: ImageRef | None) -> None:
        """Start to look into this image for the set; release the one that it needed before."""

    def image(self, ref: ImageRef) -> Image | Failure[Reason] | None:
        """What a needed image has."""

    def pool_images(self) -> Mapping[str, str]:
        """The image of each of the set's work pools, as far as they are known."""
