"""The credentials that oras gets, and what is shown of them."""

import base64
import json
import re
from pathlib import Path

import pytest

from flowdeps.environments.registry import Credentials, push, read_credentials

_AUTH = base64.b64encode(b"pusher:pass:word").decode()


def entry(password: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"pusher:{password}".encode()).decode()}


@pytest.mark.parametrize(
    ("repository", "password"),
    [
        ("registry.example.com/flowdeps/team-a", "of team-a"),
        ("registry.example.com/flowdeps/team-ab", "of flowdeps"),
        ("registry.example.com/flowdeps", "of flowdeps"),
        ("registry.example.com/other", "of all"),
    ],
)
def test_the_entry_that_names_most_of_a_repository_counts(repository: str, password: str) -> None:
    """As for the kubelet, whatever the order in the Secret; a client knows whole registries."""
    addresses = {
        "https://registry.example.com/flowdeps/": entry("of flowdeps"),
        "registry.example.com/flowdeps/team-a": entry("of team-a"),
        "registry.example.com": entry("of all"),
    }
    for auths in (addresses, dict(reversed(addresses.items()))):
        config = Credentials(auths=auths).config_for(repository)
        assert config["auths"]["registry.example.com"] == entry(password)


def test_credentials_of_another_registry_stay_with_it() -> None:
    """A name that begins in the same way is another registry's."""
    auths = {"registry.example.co": entry("a"), "registry.example.com:5000": entry("b")}
    config = Credentials(auths=auths).config_for("registry.example.com/flowdeps")
    assert config == {"auths": auths}


def test_only_credentials_are_taken_from_a_secret(tmp_path: Path) -> None:
    """Helpers that the file names are programs, and are not run."""
    content = {"auths": {"r": {"auth": _AUTH}}, "credsStore": "evil", "credHelpers": {"r": "evil"}}
    (tmp_path / ".dockerconfigjson").write_text(json.dumps(content))
    assert read_credentials(tmp_path).config_for("r/x") == {"auths": {"r": {"auth": _AUTH}}}


def test_no_secret_is_in_what_is_shown() -> None:
    """Not the password, alone or as it is in the Secret, nor a token, nor that of a proxy."""
    auths = {"r": {"auth": _AUTH, "username": "pusher"}, "q": {"identitytoken": "t0ken"}}
    credentials = Credentials(auths=auths)
    said = f"pusher may not: {_AUTH}, pass:word, t0ken, https://me:proxy@proxy.example.com"
    shown = credentials.hide(said)
    assert shown == "pusher may not: ***, ***, ***, https://***@proxy.example.com"
    assert "pass" not in repr(credentials)


async def test_oras_gets_no_variables_but_those_of_the_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And its own home, with the credentials; no variable of the pod leads it elsewhere."""
    program = tmp_path / "bin" / "oras"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\nexport -p >"$HOME/../variables"\n')
    program.chmod(0o755)
    (tmp_path / "work").mkdir()
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example.com:3128")
    monkeypatch.setenv("SSL_CERT_FILE", "/etc/ca.crt")
    monkeypatch.setenv("ORAS_CACHE", "/elsewhere")
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/elsewhere")
    credentials = Credentials(auths={"r": {"auth": _AUTH}})
    layout = tmp_path / "work" / "layout"
    await push(layout, "sha256:0", repository="r/x", tag="t", credentials=credentials)
    text = (tmp_path / "work" / "variables").read_text()
    names = set(re.findall(r"^(?:export|declare -x) (\w+)=", text, re.MULTILINE))
    known = {"HOME", "DOCKER_CONFIG", "HTTPS_PROXY", "SSL_CERT_FILE"}
    assert known <= names
    allowed = {*known, "SSL_CERT_DIR", "PWD", "OLDPWD"}  # the last two are the shell's
    assert [one for one in names - allowed if "PROXY" not in one.upper()] == []
    config = tmp_path / "work" / "home" / "config.json"
    assert json.loads(config.read_text()) == {"auths": {"r": {"auth": _AUTH}}}
    assert config.parent.stat().st_mode & 0o077 == 0


async def test_authorities_of_the_secret_are_trusted_beside_the_known_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also without credentials, as for a registry that anyone of the network may write to."""
    program = tmp_path / "bin" / "oras"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\ncat "$SSL_CERT_FILE" >"$HOME/../trusted"\n')
    program.chmod(0o755)
    (tmp_path / "work").mkdir()
    (tmp_path / "ca.crt").write_text("COMPANY")
    (tmp_path / "known.pem").write_text("KNOWN")
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "known.pem"))
    credentials = read_credentials(tmp_path)
    layout = tmp_path / "work" / "layout"
    await push(layout, "sha256:0", repository="r/x", tag="t", credentials=credentials)
    assert (tmp_path / "work" / "trusted").read_text() == "KNOWN\nCOMPANY"


async def test_the_proxy_of_the_configuration_takes_the_place_of_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A NO_PROXY of the image would lead past it."""
    program = tmp_path / "bin" / "oras"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\nenv >"$HOME/../variables"\n')
    program.chmod(0o755)
    (tmp_path / "work").mkdir()
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    monkeypatch.setenv("https_proxy", "http://other.example.com")
    monkeypatch.setenv("NO_PROXY", "r")
    layout, proxy = tmp_path / "work" / "layout", "http://proxy.example.com:3128"
    await push(
        layout, "sha256:0", repository="r/x", tag="t", credentials=Credentials(), proxy=proxy
    )
    lines = (tmp_path / "work" / "variables").read_text().splitlines()
    found = {line for line in lines if line.partition("=")[0].lower().endswith("_proxy")}
    assert found == {f"HTTPS_PROXY={proxy}", f"HTTP_PROXY={proxy}"}
