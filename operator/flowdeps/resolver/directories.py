"""Makes the resolver's directories: what uv caches, and the stub wheels of images.

uv keeps what an index says by its URL, not by who asked, so each pair of credentials has a cache of
its own: a set that names none can't be served what others may see. Stub wheels have a lasting
place, because uv caches what it reads from one by its path. A directory that nobody has used for a
day is removed.
"""

import hashlib
import hmac
import os
import secrets
import shutil
import tempfile
import time
from pathlib import Path

from flowdeps.delivery.in_image.stub import stub_filename, stub_wheel
from flowdeps.locks.access import Access
from flowdeps.locks.image import ImageFacts

_UNUSED_SECONDS = 24 * 3600


class Directories:
    """Directories below ``root``. Methods raise `OSError` where one can't be made."""

    def __init__(self, root: Path) -> None:
        self.root = root
        # The name of a private cache is an argument of a process: nobody may guess back from it.
        self._salt = secrets.token_bytes(32)

    def cache(self, access: Access) -> Path:
        """Return where uv caches for those with this ``access``."""
        if access == Access():
            shared = self.root / "shared"
            shared.mkdir(parents=True, exist_ok=True)
            return shared
        text = f"{access.netrc}\0{access.ca}".encode()
        name = hmac.new(self._salt, text, hashlib.sha256).hexdigest()[:20]
        path = self.root / "private" / name
        if not path.exists():
            _tidy(path.parent)
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.utime(path)
        return path

    def stubs(self, facts: ImageFacts) -> Path | None:
        """Return a directory with a stub wheel for each package of an image; None where it isn't
        known what they require: a stub would say that they require nothing."""
        if not facts.markers:
            return None
        path = self.root / "images" / facts.digest.removeprefix("sha256:")[:20]
        if not path.exists():
            _tidy(path.parent)
            path.parent.mkdir(parents=True, exist_ok=True)
            new = Path(tempfile.mkdtemp(dir=path.parent, prefix="new-"))
            present = facts.versions
            for one in facts.distributions:
                stub = stub_wheel(
                    one.name, one.version, requires=one.requires, extras=one.extras, present=present
                )
                (new / stub_filename(one.name, one.version)).write_bytes(stub)
            new.rename(path)  # whole or not at all
        os.utime(path)
        return path


def _tidy(directory: Path) -> None:
    oldest = time.time() - _UNUSED_SECONDS
    for one in directory.glob("*"):
        if one.stat().st_mtime < oldest:
            shutil.rmtree(one, ignore_errors=True)
