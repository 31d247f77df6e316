"""The table of what uv and pip print in the flow's image, against what they printed.

Caught from uv 0.13 and pip 23.2 as other tests here run them, and from uv 0.1; long lines are cut.
"""

import re

import pytest

from flowdeps.delivery.in_image import extras, installer

_INDEX = "http://index.example.com/simple/"
_UNREACHABLE = f"{_INDEX} cannot be reached or does not answer"
_AUTHORITY = f"the certificate of {_INDEX} is of an authority that the image does not know"
_NO_SPACE = "the node has no space left for the packages"

SAMPLES = [
    ("error: failed to write to file `x.py`: No space left on device (os error 28)", _NO_SPACE),
    ("error: failed to write to file `x.py`: Disk quota exceeded (os error 122)", _NO_SPACE),
    (
        "error: Failed to download `beta==2.0`\n  cause: Hash mismatch for `beta==2.0`\n",
        f"the lock's hash for beta 2.0 does not match what {_INDEX} serves",
    ),
    (
        "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE. If you have "
        "updated the package versions, please update the hashes. Otherwise, examine the package "
        "contents carefully; someone may have tampered with them.\n"
        "    beta==2.0 from http://index.example.com/files/beta-2.0-py3-none-any.whl",
        f"the lock's hash for beta 2.0 does not match what {_INDEX} serves",
    ),
    (
        "error: unexpected argument '--no-config' found\n\n  tip: a similar argument exists: "
        "'--no-offline'\n\nUsage: uv pip install [OPTIONS] <PACKAGE|--requirement <REQUIREMENT>",
        "the image's uv is too old for this: use uv 0.4 or newer, or remove it to use pip",
    ),
    (
        "hint: An index (http://index.example.com/simple/) returned a 403 Forbidden error.",
        f"{_INDEX} refuses access",
    ),
    (
        "Could not fetch URL http://index.example.com/simple/alpha/: 403 Client Error: Forbidden "
        "for url: http://index.example.com/simple/alpha/ - skipping",
        f"{_INDEX} refuses access",
    ),
    (
        "error: Failed to fetch: https://index.example.com/simple/alpha/\n"
        "  cause: error sending request for url (https://index.example.com/simple/alpha/)\n"
        "  cause: client error (Connect)\n  cause: invalid peer certificate: UnknownIssuer\n",
        _AUTHORITY,
    ),
    (
        "Could not fetch URL https://index.example.com/simple/alpha/: There was a problem "
        "confirming the ssl certificate: HTTPSConnectionPool(host='index.example.com', port=443): "
        "Max retries exceeded with url: /simple/alpha/ (Caused by SSLError(SSLCertVerificationError"
        "(1, '[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: unable to get local "
        "issuer certificate (_ssl.c:1006)'))) - skipping",
        _AUTHORITY,
    ),
    (
        "error: Request failed after 2 retries in 3.8s\n"
        "  cause: Failed to fetch: http://index.example.com/simple/alpha/\n"
        "  cause: error sending request for url (http://index.example.com/simple/alpha/)\n"
        "  cause: client error (Connect)\n  cause: dns error\n  cause: error resolving DNS\n",
        _UNREACHABLE,
    ),
    (
        "error: Request failed after 2 retries in 3.4s\n"
        "  cause: HTTP status server error (503 Service Unavailable) for url (http://index.example"
        ".com/simple/alpha/)",
        _UNREACHABLE,
    ),
    ("  cause: operation timed out", _UNREACHABLE),
    (
        "Could not fetch URL http://index.example.com/simple/alpha/: connection error: "
        "HTTPConnectionPool(host='index.example.com', port=80): Max retries exceeded with url: "
        "/simple/alpha/ (Caused by NewConnectionError('Failed to establish a new connection: "
        "[Errno 111] Connection refused')) - skipping",
        _UNREACHABLE,
    ),
    ("no such option: --nope", "the image's pip is too old for this: use pip 23 or newer"),
    (
        "ERROR: Could not find a version that satisfies the requirement alpha==3.0 (from versions: "
        "1.0)\nERROR: No matching distribution found for alpha==3.0",
        f"{_INDEX} has no wheel of alpha 3.0 for this image",
    ),
    (
        "  cause: Because alpha==1.0 has no wheels with a matching platform tag (e.g., "
        "`manylinux_2_36_x86_64`) and you require alpha==1.0, we can conclude that your "
        "requirements are unsatisfiable.",
        f"{_INDEX} has no wheel of alpha 1.0 for this image",
    ),
    (
        "  cause: Because app==2.0 has no usable wheels and you require app==2.0, we can conclude "
        "that your requirements are unsatisfiable.",
        f"{_INDEX} has no wheel of app 2.0 for this image",
    ),
    (
        "  cause: Because there is no version of alpha==3.0 and you require alpha==3.0, we can "
        "conclude that your requirements are unsatisfiable.",
        f"{_INDEX} has no wheel of alpha 3.0 for this image",
    ),
    (
        "  cause: Because gamma was not found in the package registry and you require gamma==1.0, "
        "we can conclude that your requirements are unsatisfiable.",
        f"{_INDEX} has no wheel of gamma 1.0 for this image",
    ),
    (
        "The conflict is caused by:\n    The user requested alpha==1.0\n"
        "    app 1.0 depends on alpha>=2\n\nTo fix this you could try to:\n"
        "1. loosen the range of package versions you've specified\n",
        "the installer failed, see its output above",
    ),
]


def _alternatives(pattern: str) -> list[str]:
    """The parts of a pattern that `|` divides, outside parentheses."""
    return re.findall(r"(?:[^|(]|\([^()]*\))+", pattern)


@pytest.mark.parametrize(
    "alternative",
    [
        one
        for pattern, _ in (*installer.CAUSES, *extras.RESOLUTION)
        for one in _alternatives(pattern)
    ],
)
def test_every_cause_has_a_sample(alternative: str) -> None:
    """A pattern that neither uv nor pip prints has no place in the table."""
    assert any(re.search(alternative, " ".join(output.split())) for output, _ in SAMPLES)


@pytest.mark.parametrize(("output", "meaning"), SAMPLES)
def test_what_is_printed_has_its_meaning(output: str, meaning: str) -> None:
    """The first cause in the table that is found counts, with the package and the index."""
    assert installer.cause(output, _INDEX).startswith(meaning)
