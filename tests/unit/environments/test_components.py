"""The list of what an environment is made of."""

import json
from typing import Any

from flowdeps.environments.components import components_of
from flowdeps.locks.lock import Lock, parse_lock

_TEXT = """\
# python: 3.11
# platforms: linux/amd64, linux/arm64
# image: six==1.17.0
alpha==1.0 \\
    --hash=sha256:{a} \\
    --hash=sha256:{b}
beta==2.0+local ; platform_machine == "aarch64" \\
    --hash=sha256:{c}
""".format(a="a" * 64, b="b" * 64, c="c" * 64)


def listed(lock: Lock, platform: str = "linux/amd64", name: str = "team-a/ml") -> dict[str, Any]:
    content: dict[str, Any] = json.loads(components_of(lock, name=name, platform=platform))
    return content


def test_it_names_what_is_installed_on_its_platform() -> None:
    """With versions, package URLs and hashes; what is the image's own is not in it."""
    content = listed(parse_lock(_TEXT), "linux/arm64")
    assert (content["bomFormat"], content["specVersion"]) == ("CycloneDX", "1.6")
    found = [(one["name"], one["version"], one["purl"]) for one in content["components"]]
    assert found == [
        ("alpha", "1.0", "pkg:pypi/alpha@1.0"),
        ("beta", "2.0+local", "pkg:pypi/beta@2.0%2Blocal"),
    ]
    assert content["components"][0]["hashes"] == [
        {"alg": "SHA-256", "content": "a" * 64},
        {"alg": "SHA-256", "content": "b" * 64},
    ]
    assert content["metadata"]["component"]["name"] == "team-a/ml"
    assert [one["name"] for one in listed(parse_lock(_TEXT))["components"]] == ["alpha"]


def test_it_is_the_same_bytes_for_the_same_lock() -> None:
    """It has no time, and its number is one of its content; another lock's is another."""
    lock = parse_lock(_TEXT)
    one = components_of(lock, name="team-a/ml", platform="linux/amd64")
    assert one == components_of(lock, name="team-a/ml", platform="linux/amd64")
    assert b"timestamp" not in one
    other = listed(parse_lock(_TEXT.replace("1.0", "1.1")))["serialNumber"]
    numbers = {json.loads(one)["serialNumber"], other, listed(lock, name="b/ml")["serialNumber"]}
    assert len(numbers) == 3


def test_a_lock_without_packages_has_a_list_too() -> None:
    """Which is empty."""
    lock = parse_lock("# python: 3.11\n# platforms: linux/amd64\n")
    assert listed(lock).get("components", []) == []
