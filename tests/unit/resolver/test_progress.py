"""While a resolution takes long, what was read is told from uv's cache."""

import os
from pathlib import Path

from flowdeps.resolver.progress import how_far


def _write(file: Path, size: int, *, changed: float) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"x" * size)
    os.utime(file, (changed, changed))


def test_what_was_read_since_the_start_is_counted_and_the_last_package_named(
    tmp_path: Path,
) -> None:
    """What earlier resolutions left in the cache is not."""
    pages = tmp_path / "shared/cache/simple-v28/index/92fc"
    assert how_far(tmp_path, since=100) == "0 packages, 0 B"
    _write(pages / "old.rkyv", 9000, changed=99)
    _write(pages / "alpha.rkyv", 2000, changed=120)
    _write(pages / "torch.rkyv", 3000, changed=130)
    _write(pages.parents[1] / "wheels-v8/torch/whole.whl", 995_000, changed=140)
    assert how_far(tmp_path, since=100) == "2 packages, 1 MB, the last: torch"
