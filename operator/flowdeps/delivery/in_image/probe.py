"""Report what an image has: its interpreter and the packages that a flow in it would find."""

from __future__ import annotations

import sys

from flowdeps.delivery.in_image.inventory import describe, say, search_path


def main() -> int:
    try:
        describe(search_path())
    except Exception as error:
        why = f"{type(error).__name__}: {error}"
        old = sys.version_info < (3, 10)
        advice = "use an image with Python 3.10 or newer" if old else "use another image"
        say(f"cannot read what the image has: {why}; {advice}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
