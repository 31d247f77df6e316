"""An index that wants credentials, or whose certificate nobody knows: a Secret says how to ask."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from flowdeps.delivery.in_image.installer import find_bundle
from tests.cluster import distributions
from tests.cluster.httpserver import Answer, Request, Server
from tests.cluster.index import Index
from tests.cluster.pki import Authority
from tests.unit.delivery.install_pod import Pod, at, pin

PASSWORD = "s3cret-s3cret"
NETRC = f"machine 127.0.0.1\nlogin robot\npassword {PASSWORD}\n"


@pytest.fixture
def guarded() -> Iterator[Index]:
    with Index(username="robot", password=PASSWORD) as running:
        yield running


def write(pod: Pod, **files: str) -> None:
    pod.secret.mkdir()
    for name, content in files.items():
        (pod.secret / name.replace("_", ".")).write_text(content)


def texts(directory: Path) -> str:
    return "".join(
        path.read_text("utf-8", "replace") for path in directory.rglob("*") if path.is_file()
    )


def test_the_secret_opens_the_index_and_leaves_no_trace(either: Pod, guarded: Index) -> None:
    """Lock and extras are installed with the netrc file; nothing that the flow sees has it."""
    write(either, netrc=NETRC)
    either.write(pin(guarded, "alpha", "1.0"), index=at(guarded), credentials=True)
    guarded.add("extra", "1.0")
    either.environment["FLOWDEPS_EXTRAS"] = "extra"
    outcome = either.run()
    assert outcome.code == 0, outcome.lines
    assert {"alpha", "extra"} <= set(outcome.installed)
    assert PASSWORD not in "\n".join(outcome.lines)
    assert PASSWORD not in texts(either.home)


def test_wrong_credentials_are_a_line_without_them(either: Pod, guarded: Index) -> None:
    """Who is refused is named, how is not."""
    line = pin(guarded, "alpha", "1.0")
    guarded.protect("robot", "another")
    write(either, netrc=NETRC)
    either.write(line, index=at(guarded), credentials=True)
    outcome = either.run()
    assert outcome.code == 1
    assert f"{guarded.url} refuses access" in outcome.last
    assert PASSWORD not in "\n".join(outcome.lines)


@pytest.fixture
def spying(pod: Pod, images: dict[str, Path], tmp_path: Path) -> Pod:
    """A pod whose uv says what it was given, and a password, and fails."""
    write(pod, netrc=NETRC)
    pod.programs = tmp_path / "programs"
    pod.programs.mkdir()
    (pod.programs / "python3").symlink_to(images["bare"] / "python3")
    uv = pod.programs / "uv"
    uv.write_text(f'#!/bin/sh\n(env; echo "$@") > {tmp_path}/seen\necho {PASSWORD}\nexit 2\n')
    uv.chmod(0o755)
    pod.write("alpha==1.0", credentials=True)
    return pod


def test_what_an_installer_prints_is_shown_without_passwords(spying: Pod) -> None:
    """Whatever it says of them."""
    assert spying.run().lines[0] == "***"


def test_no_process_has_the_password(spying: Pod, tmp_path: Path) -> None:
    """Neither the arguments nor the variables of the installer hold it."""
    spying.run()
    seen = (tmp_path / "seen").read_text()
    assert f"NETRC={spying.secret}/netrc" in seen
    assert PASSWORD not in seen


@pytest.mark.parametrize("no_proxy", ["", "127.0.0.1,localhost"])
def test_credentials_are_not_sent_in_plain_text(
    either: Pod, authority: Authority, no_proxy: str
) -> None:
    """An index that asks by TLS may name files in plain text at its host, for all to see."""
    asked: list[str | None] = []
    wheel = distributions.wheel(name="alpha", version="1.0")

    def plain(request: Request) -> Answer:
        asked.append(request.authorization)
        return Answer(body=wheel.content, media_type="application/octet-stream")

    def page(_: Request) -> Answer:
        url = f"http://localhost:{files.server_port}/{wheel.filename}"
        body = f'<a href="{url}#sha256={wheel.sha256}">{wheel.filename}</a>'
        return Answer(body=body.encode(), media_type="text/html")

    pair = authority.server("index", names=["localhost"], addresses=["127.0.0.1"])
    files = Server(plain, host="127.0.0.1", port=0)
    index = Server(page, host="127.0.0.1", port=0, certificate=pair)
    try:
        netrc = f"machine localhost\nlogin robot\npassword {PASSWORD}\n"
        write(either, netrc=netrc, ca_crt=authority.own.certificate.read_text())
        url = {"url": f"https://localhost:{index.server_port}/simple/", "extraUrls": []}
        either.write(f"alpha==1.0 --hash=sha256:{wheel.sha256}", index=url, credentials=True)
        either.environment = {"no_proxy": no_proxy} if no_proxy else {}
        outcome = either.run()
    finally:
        files.close()
        index.close()
    assert outcome.code == 1
    assert "cannot be reached" in outcome.last
    assert asked == []


@pytest.mark.parametrize("present", [True, False])
def test_a_missing_secret_is_said_where_one_is_wanted(
    pod: Pod, guarded: Index, present: bool
) -> None:
    """A Secret that is missing, or has neither file, ends the run before an index is asked."""
    if present:
        write(pod, other="x")
    pod.write(pin(guarded, "alpha", "1.0"), index=at(guarded), credentials=True)
    guarded.forget()
    outcome = pod.run()
    assert outcome.code == 1
    assert outcome.lines == [
        "flowdeps: the index of team-a/ml wants credentials, and their Secret is not in namespace "
        '"jobs": see the status of team-a/ml and its index.credentialsSecretRef'
    ]
    assert guarded.requests == []


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("pki"))


@pytest.fixture
def private(authority: Authority) -> Iterator[Index]:
    pair = authority.server("index", names=["localhost"], addresses=["127.0.0.1"])
    with Index(certificate=pair) as running:
        yield running


def test_a_private_authority_is_trusted_beside_the_images(
    either: Pod, private: Index, authority: Authority, tmp_path: Path
) -> None:
    """The Secret's certificate joins those that the image trusts."""
    others = Authority(tmp_path / "others").own.certificate
    either.environment = {"SSL_CERT_FILE": str(others)}
    either.write(pin(private, "alpha", "1.0"), index=at(private), credentials=True)
    outcome_without = either.run()
    write(either, ca_crt=authority.own.certificate.read_text())
    outcome = either.run()
    assert outcome.code == 0, outcome.lines
    assert outcome_without.code == 1


def test_an_image_with_certificates_of_its_own_needs_no_secret(
    either: Pod, private: Index, authority: Authority, tmp_path: Path
) -> None:
    """What the image's variables name is what the installer trusts; the Secret only adds to it."""
    other = Authority(tmp_path / "other").own.certificate
    either.environment = {"SSL_CERT_FILE": str(authority.own.certificate)}
    write(either, ca_crt=other.read_text())
    either.write(pin(private, "alpha", "1.0"), index=at(private), credentials=True)
    outcome = either.run()
    assert outcome.code == 0, outcome.lines


def test_certificates_that_the_user_cannot_read_are_passed_over(
    either: Pod, private: Index, authority: Authority, closed: Path
) -> None:
    """An image may name a file of root's; what the Secret has counts without it."""
    either.environment = {"SSL_CERT_FILE": str(closed / "ca.crt")}
    write(either, ca_crt=authority.own.certificate.read_text())
    either.write(pin(private, "alpha", "1.0"), index=at(private), credentials=True)
    outcome = either.run()
    assert outcome.code == 0, outcome.lines


def test_the_installer_is_given_no_certificates_that_it_cannot_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """pip ends with an error at a file that is not there; what else the image names counts."""
    (tmp_path / "ca.crt").touch()
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "gone.crt"))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.crt"))
    assert find_bundle() == str(tmp_path / "ca.crt")


def test_an_unknown_authority_is_said(either: Pod, private: Index) -> None:
    """A certificate that nobody vouches for is not called an index that is down."""
    either.write(pin(private, "alpha", "1.0"), index=at(private))
    outcome = either.run()
    assert outcome.code == 1
    assert f"the certificate of {private.url} is of an authority" in outcome.last
    assert os.linesep not in outcome.last
