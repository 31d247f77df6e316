"""The table of what oras says, against what it said.

The samples are what oras 1.3.6 printed: for a port without a server, Debian's docker-registry (with
users, TLS, read-only, on a full disk, without what is asked for), and a server with the answers of
other registries.
"""

import re
from pathlib import Path

import pytest

from flowdeps.environments.messages import PULL, ROWS, Row, to_error

_SAMPLES = {
    path.stem: path.read_text()
    for path in sorted(Path(__file__).with_name("samples").glob("*.txt"))
}
_REPOSITORY = "registry.example.com/flowdeps/team-a"


def row_of(said: str) -> Row | None:
    return next((row for row in ROWS if any(re.search(one, said) for one in row.patterns)), None)


@pytest.mark.parametrize(("row", "pattern"), [(row, one) for row in ROWS for one in row.patterns])
def test_every_pattern_decides_on_a_sample(row: Row, pattern: str) -> None:
    """One that oras no longer fits, or that another row hides, has no place in the table."""
    assert any(re.search(pattern, said) and row_of(said) is row for said in _SAMPLES.values())


@pytest.mark.parametrize(
    ("sample", "starts", "retry"),
    [
        ("denied", "does not allow the push (denied: requested access to", True),
        ("disk_full", "has no room (unknown: unknown error: map[DriverName:filesystem", True),
        ("eof", "can't be reached from the build's pod (EOF): see whether it runs", True),
        ("forbidden", "does not allow the push (response status code 403: Forbidden)", True),
        ("immutable", "keeps the first artifact of each tag (tag invalid: The image tag", True),
        ("insufficient", "has no room (response status code 507: Insufficient Storage)", True),
        ("invalid_reference", f"can't be asked: {_REPOSITORY} is no name of a repos", False),
        ("no_blob", f"no longer has what flowdeps has pushed to {_REPOSITORY} (", True),
        ("no_manifest", f"no longer has what flowdeps has pushed to {_REPOSITORY} (", True),
        ("no_credentials", "wants credentials, and there are none for it: put some", True),
        ("no_handshake", "can't be reached from the build's pod (net/http: TLS handsh", True),
        ("no_repository", f"has no repository {_REPOSITORY} (name unknown: rep", True),
        ("not_found", f"has no repository {_REPOSITORY} (response status code", True),
        ("other_name", "has a certificate that is not trusted (tls: failed to verify", True),
        ("plain_server", "has no TLS: give it a certificate, or set environments.plain", True),
        ("quota", "has no room (precondition: adding 5.0 GiB of storage", True),
        ("quota_denied", "has no room (denied: quota exceeded", True),
        ("read_only", "does not support the push (response status code 405: Method", True),
        ("refused", "can't be reached from the build's pod (dial tcp 127.0.0.1:", True),
        ("reset", "can't be reached from the build's pod (read tcp 127.0.0.1:", True),
        ("server_error", "has an error of its own (unknown: unknown error: map[", True),
        ("tls_server", "does not understand plain HTTP (response status code 400", True),
        ("too_large", "takes no upload of this size (response status code 413", True),
        ("too_many", "asks for fewer requests (toomanyrequests: too many", True),
        ("too_many_no_body", "asks for fewer requests (response status code 429", True),
        ("unauthorized", "refuses the credentials (unauthorized: authentication req", True),
        ("unavailable", "has an error of its own (response status code 503", True),
        ("unknown_authority", "has a certificate that is not trusted (tls: failed", True),
        ("unknown_host", "can't be reached from the build's pod (dial tcp: lookup reg", True),
        ("unsupported", "does not support the push (unsupported: The operation is unsupp", True),
        ("wrong_credentials", "refuses the credentials (response status code 401: Un", True),
    ],
)
def test_each_failure_names_the_registry_its_cause_and_what_to_do(
    sample: str, starts: str, retry: bool
) -> None:
    """And says whether another try may help, with nothing changed but the registry."""
    error = to_error(_SAMPLES[sample], repository=_REPOSITORY)
    assert str(error).startswith(f"the registry registry.example.com {starts}")
    assert error.retry is retry
    assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("sample", "says"),
    [
        ("denied", "does not allow the pull (denied: requested access to"),
        ("denied", "let the credentials of the Secret environments.pullSecretRef read"),
        ("unauthorized", "correct the Secret environments.pullSecretRef of this namespace"),
        ("no_credentials", "put some into the Secret environments.pullSecretRef of"),
        ("unknown_authority", "as ca.crt to the Secret environments.pullSecretRef of"),
        ("refused", "can't be reached from the populator's pod (dial tcp"),
    ],
)
def test_a_pull_that_fails_names_what_is_for_pulls(sample: str, says: str) -> None:
    """Another Secret, another pod and fewer rights than those of a push."""
    said = str(to_error(_SAMPLES[sample], repository=_REPOSITORY, purpose=PULL))
    assert says in said
    assert "push" not in said


def test_every_sample_is_in_the_table() -> None:
    """Else it would be shown as oras has it, which says nothing of what to do."""
    assert [name for name, said in _SAMPLES.items() if row_of(said) is None] == []


def test_what_is_not_known_is_shown_in_one_line_of_bounded_length() -> None:
    """A registry writes some of it."""
    said = f"Error: something \x1b[31mnew {'x' * 5000}\nand more"
    error = to_error(said, repository=_REPOSITORY)
    assert str(error).startswith(f"oras can't push to {_REPOSITORY}: Error: something ")
    assert str(error).isprintable()
    assert len(str(error)) < 600
    assert error.retry


@pytest.mark.parametrize("said", ["Error " * 20_000, 'A "http' * 20_000, '"' * 100_000])
def test_a_flood_takes_no_longer_than_its_length(said: str) -> None:
    """Patterns have bounds; one without would not end here."""
    assert len(str(to_error(said, repository=_REPOSITORY))) < 600
