"""Which addresses the indexes of sets may have."""

import socket

import pytest

from flowdeps.resolver.addresses import Policy, RefusedError
from flowdeps.resolver.network import Network, cluster_services

INDEX = ("https", "packages.example.com", 443)


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.255.0.1", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1"),
        *("2002:7f00:1::", "::ffff:0:0", "::", "::127.0.0.1"),
        *("169.254.169.254", "fe80::1", "fe80::1%eth0", "::ffff:169.254.169.254"),
        *("64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1", "fd00:ec2::254", "fd20:ce::254"),
        *("100.100.100.200", "168.63.129.16", "192.0.0.192"),
        *("224.0.0.1", "ff02::1", "255.255.255.255", "240.0.0.1"),
    ],
)
def test_the_machine_the_link_and_the_cloud_are_closed(address: str) -> None:
    """In whatever way an address of IPv6 holds one of IPv4."""
    assert not Policy().reaches(address)


@pytest.mark.parametrize(
    "address",
    [
        *("93.184.216.34", "10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1"),
        *("2606:2800:220:1::1", "fd12:3456::1", "64:ff9b::5db8:d822"),
    ],
)
def test_public_and_private_networks_are_open(address: str) -> None:
    """A company's own index is in a private one."""
    assert Policy().reaches(address)


def test_an_address_of_this_machine_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also in a private network: the operator's own port is there."""
    asked: list[object] = []

    class Probe(socket.socket):
        def connect(self, address: object) -> None:
            asked.append(address)

        def getsockname(self) -> tuple[str, int]:
            return "10.1.2.3", 1234

    monkeypatch.setattr(socket, "socket", Probe)
    assert not Policy().reaches("10.1.2.3")
    assert Policy().reaches("10.1.2.4")
    assert asked == [("10.1.2.3", 9), ("10.1.2.4", 9)]


def test_the_configuration_opens_and_closes_networks() -> None:
    """What it opens is open, whatever else holds."""
    policy = Policy(allowed=["127.0.0.0/8", "10.96.1.0/24"], denied=["10.96.0.0/12", "fd00::/8"])
    assert policy.reaches("127.0.0.1")
    assert policy.reaches("10.96.1.1")
    assert not policy.reaches("10.96.0.1")
    assert not policy.reaches("::ffff:10.96.0.1")
    assert not policy.reaches("fd12::1")
    assert policy.reaches("10.1.0.1")


@pytest.mark.parametrize(
    ("environment", "networks"),
    [
        ({}, ()),
        ({"KUBERNETES_SERVICE_HOST": "10.96.0.1"}, ("10.96.0.0/16",)),
        ({"KUBERNETES_SERVICE_HOST": "fd00:10:96::1"}, ("fd00:10:96::/108",)),
        ({"KUBERNETES_SERVICE_HOST": "93.184.216.34"}, ("93.184.216.34/32",)),
        ({"KUBERNETES_SERVICE_HOST": "api.example.com"}, ()),
    ],
)
def test_the_clusters_services_are_around_its_api(
    environment: dict[str, str], networks: tuple[str, ...]
) -> None:
    """A public address says nothing of those beside it."""
    assert cluster_services(environment) == networks


def test_who_opens_all_networks_needs_no_guard() -> None:
    """Those of IPv4 and of IPv6."""
    assert Network(allowed=("0.0.0.0/0", "::/0")).is_open
    assert not Network(allowed=("0.0.0.0/0",)).is_open
    assert not Network().is_open


def test_credentials_go_to_the_index_alone() -> None:
    """Not to another port or scheme of its host. Other hosts have their own, over TLS."""
    policy = Policy(indexes=[INDEX], credentials=True)
    policy.check_tunnel(INDEX)
    policy.check_tunnel(("https", "files.example.com", 8443))
    for port in (8443, 80):
        with pytest.raises(RefusedError, match=f"example.com:{port} is another port of the index"):
            policy.check_tunnel(("https", "packages.example.com", port))
    Policy(indexes=[INDEX]).check_tunnel(("https", "packages.example.com", 8443))
    assert policy.gives_credentials(INDEX)
    assert not policy.gives_credentials(("http", "packages.example.com", 80))
    assert not policy.gives_credentials(("http", "files.example.com", 80))
