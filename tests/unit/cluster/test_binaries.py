"""Programs of the harness: what is missing, and what makes building them quick."""

import re
from pathlib import Path

import pytest

from tests.cluster import binaries

_MODULES = Path(binaries.__file__).with_name("go")


def _versions(module: str) -> dict[str, str]:
    text = (_MODULES / module / "go.mod").read_text().partition("\nrequire (")[2]
    return dict(re.findall(r"^\t(\S+) (v\S+)", text, re.MULTILINE))


def test_what_is_missing_is_named_in_the_order_of_building(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither what the cache has whole, nor what KUBEBUILDER_ASSETS brings."""
    monkeypatch.setenv("FLOWDEPS_CACHE", str(tmp_path))
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path / "assets"))
    assert binaries.missing(list(binaries.PROGRAMS)) == list(binaries.PROGRAMS)
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / "etcd").touch()
    built = tmp_path / binaries._entry("kubectl")
    built.mkdir(parents=True)
    wanted = ["kubelet", "kubectl", "etcd", "kube-apiserver"]
    assert binaries.missing(wanted) == ["kube-apiserver", "kubectl", "kubelet"]
    (built / ".complete").touch()
    assert binaries.missing(wanted) == ["kube-apiserver", "kubelet"]


def test_helm_shares_what_is_compiled_for_kubernetes() -> None:
    """The compiler's cache knows a package by its version: with others, helm takes ten times as
    long."""
    kubernetes, helm = _versions("kubernetes"), _versions("helm")
    shared = {name for name in helm if name.startswith("k8s.io/")} & set(kubernetes)
    assert len(shared) > 10
    # In the module of Kubernetes, its own parts have no version but what replaces them.
    replaced = dict(
        re.findall(r"=> (k8s\.io/\S+) (v\S+)", (_MODULES / "kubernetes" / "go.mod").read_text())
    )
    other = {name for name in shared if helm[name] != replaced.get(name, kubernetes[name])}
    assert other == set()
