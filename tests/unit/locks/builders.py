"""Short ways to write pins and locks in tests."""

from hashlib import sha256

from packaging.utils import NormalizedName, canonicalize_name

from flowdeps.locks.lock import Lock, Pin
from flowdeps.locks.target import Target

AMD64, ARM64 = "linux/amd64", "linux/arm64"
BOTH = Target("3.11", (AMD64, ARM64))


def digest(seed: str) -> str:
    """A sha256 hash that only ``seed`` decides."""
    return f"sha256:{sha256(seed.encode()).hexdigest()}"


def pin(name: str, version: str, *platforms: str, files: tuple[str, ...] = ("any",)) -> Pin:
    """A pin on ``platforms`` (default: both) with a hash for each of ``files``."""
    return Pin(
        name=canonicalize_name(name),
        version=version,
        hashes=tuple(digest(f"{name} {version} {file}") for file in files),
        platforms=platforms or BOTH.platforms,
    )


def base(**versions: str) -> tuple[tuple[NormalizedName, str], ...]:
    """Image packages that a lock builds on."""
    return tuple((canonicalize_name(name), version) for name, version in versions.items())


def lock(*pins: Pin) -> Lock:
    return Lock(BOTH, pins)


def pylock_text(*pins: str) -> str:
    """A lock as another tool writes it."""
    text = 'lock-version = "1.0"\ncreated-by = "some-tool"\n'
    for name, _, version in (pin.partition("==") for pin in pins):
        file = f"https://example.com/{name}-{version}-py3-none-any.whl"
        hashes = f'{{ sha256 = "{digest(name).removeprefix("sha256:")}" }}'
        text += f'[[packages]]\nname = "{name}"\nversion = "{version}"\n'
        text += f'wheels = [{{ url = "{file}", hashes = {hashes} }}]\n'
    return text
