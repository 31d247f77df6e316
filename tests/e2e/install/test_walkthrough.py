"""README.md and docs/start.md, followed to the letter on a pool as Prefect makes it.

What the pages take for granted is there: the image and the operator's under the names that they
have on the pages, Prefect behind its service, the pool `kubernetes` with a worker, a deployment. An
index on this machine stands for the public one, which is the only thing that is configured.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster import binaries, images, operator_image, ports, prefect_env
from tests.cluster.prefect import KubernetesWorker
from tests.e2e.install.site import SECONDS, SITE, Site
from tests.support import sets
from tests.support.pages import ROOT, Shown, blocks, to_follow

pytestmark = pytest.mark.node

_POOL, _SET, _IMAGE = "kubernetes", "ml-extras", "registry.example.com/flows:1"
_OPERATOR = "registry.example.com/flowdeps"
_TERMINAL = ".venv/bin/flowdeps run"  # goes on until it is ended
_LOCK = re.compile(rf"\b{_SET}-[0-9a-f]{{10}}\b")
_COMMAND_SECONDS = 400  # longer than any timeout on the pages


class Walk:
    """Somebody at two terminals, in a checkout."""

    def __init__(self, site: Site, *, home: Path, deployment: str) -> None:
        self._site, self._home, self._deployment = site, home, deployment
        self.checkout = _checkout(home)
        self.template = self.template_now()
        self.installed = ""
        self._index = site.index.url
        self._environment = self._variables()

    def follow(self, page: str, stack: ExitStack) -> None:
        """Type all commands of a page, and compare what they print with what it shows."""
        for shown in to_follow(page):
            if shown.command.startswith(_TERMINAL):
                self._in_another_terminal(shown.command, stack)
                continue
            printed = self.type(shown)
            if shown.output:
                assert _normal(printed) == _normal(shown.output)
            if shown.command.startswith("prefect deployment run"):
                self._see_the_run()

    def type(self, shown: Shown) -> str:
        """What a command prints that must succeed."""
        text = shown.command
        if text.startswith("helm install"):
            text += f" --set config.index.url={self._index}"
        elif _LOCK.search(text):
            status = sets.get_set(self._site.node, _SET, namespace="default")["status"]
            text = _LOCK.sub(status["lock"]["revision"], text)
        done = subprocess.run(
            ["sh", "-ec", text],
            cwd=self.checkout,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=_COMMAND_SECONDS,
            check=False,
        )
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def template_now(self) -> str:
        """The pool's template, to the letter."""
        return json.dumps(self._site.api.template(_POOL))

    def _in_another_terminal(self, command: str, stack: ExitStack) -> None:
        log = stack.enter_context((self._home / "terminal.log").open("w"))
        process = subprocess.Popen(
            ["sh", "-ec", f"exec {command}"],
            cwd=self.checkout,
            env=self._environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )

        def end() -> None:
            process.terminate()
            assert process.wait(timeout=60) == 0, (self._home / "terminal.log").read_text()

        stack.callback(end)

    def _see_the_run(self) -> None:
        api = self._site.api
        (run,) = api.runs(self._deployment)
        ended = api.wait(run, seconds=SECONDS)
        assert ended.state == "COMPLETED", "\n".join(api.logs(run))
        packages = api.probe_result(run, seconds=60)["packages"]
        assert {name: one["file"] for name, one in packages.items()} == {
            name: f"{SITE}/{name}/__init__.py" for name in ("pandas", "pyarrow")
        }
        pod = ("-n", "default", "-l", f"prefect.io/flow-run-id={run.id}")
        log = self._site.node.kubectl("logs", *pod, "-c", "flowdeps-install")
        self.installed = log.splitlines()[-1]

    def _variables(self) -> dict[str, str]:
        programs = self._home / "bin"
        programs.mkdir()
        for name, path in binaries.ensure(["kubectl", "helm"]).items():
            (programs / name).symlink_to(path)
        (programs / "prefect").symlink_to(prefect_env.bin_directory() / "prefect")
        config = self._home / "config.yaml"
        config.write_text(
            yaml.safe_dump({"index": {"url": self._index}, "httpPort": ports.free(ports.ANYWHERE)})
        )
        checked_out = os.environ.get("PYTHONPATH")  # which code is tested
        return self._site.server.environment | {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "KUBECONFIG": str(self._site.node.kubeconfig),
            "FLOWDEPS_CONFIG": str(config),
            **{f"HELM_{one}_HOME": str(self._home) for one in ("CACHE", "CONFIG", "DATA")},
            **({"PYTHONPATH": checked_out} if checked_out else {}),
        }


@pytest.fixture(scope="module")
def walk(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Walk]:
    """All that the pages take for granted, and nobody who has typed anything yet."""
    site.node.tag_image(images.FLOW_UV, _IMAGE)
    site.node.tag_image(
        operator_image.NAME, f"{_OPERATOR}:{operator_image.NAME.rpartition(':')[2]}"
    )
    _serve_prefect(site)
    site.index.add("pandas", "2.3.0", requires=["numpy>=1.26"])
    for name, version in {"numpy": "2.2.0", "pyarrow": "21.0.0"}.items():
        site.index.add(name, version)
    template = json.loads(prefect_env.kubernetes_template())
    body = {"name": _POOL, "type": "kubernetes", "base_job_template": template}
    site.api.call("POST", "/work_pools/", body)
    deployment = site.api.deploy(
        "nightly",
        pool=_POOL,
        flow="my-flow",
        packages=["pandas", "pyarrow"],
        job_variables={"image": _IMAGE},
    )
    worker = KubernetesWorker(site.server, pool=_POOL, kubeconfig=site.node.kubeconfig)
    with worker:
        yield Walk(site, home=tmp_path_factory.mktemp("walk"), deployment=deployment)


def test_the_page_about_the_first_run_works_to_the_letter(walk: Walk) -> None:
    """With the chart: from `helm install` to a pool that is as it was before."""
    with ExitStack() as stack:
        stack.callback(walk.type, Shown("helm uninstall flowdeps -n flowdeps --wait", ""))
        walk.follow("docs/start.md", stack)
        assert walk.template_now() == walk.template


def test_the_five_minutes_of_the_readme_work_to_the_letter(walk: Walk) -> None:
    """With the operator in a terminal: the run has its packages, the log of its install container
    ends as the other page shows, and the pool is as it was before."""
    with ExitStack() as stack:
        walk.follow("README.md", stack)
        assert walk.template_now() == walk.template
    ((_, line),) = blocks(ROOT / "docs" / "start.md", "text")
    assert _normal(walk.installed) == _normal(line)


def _checkout(home: Path) -> Path:
    """This one, with the environment that runs the tests as what `make setup` made."""
    made = home / "checkout"
    made.mkdir()
    for entry in ROOT.iterdir():
        if entry.name != ".venv":
            (made / entry.name).symlink_to(entry)
    (made / ".venv").symlink_to(sys.prefix)
    return made


def _serve_prefect(site: Site) -> None:
    """The service by which docs/start.md reaches Prefect."""
    name, namespace, label = "prefect-server", "prefect", "kubernetes.io/service-name"
    address, _, port = site.server.url.removeprefix("http://").removesuffix("/api").partition(":")
    bodies: list[dict[str, Any]] = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}},
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"ports": [{"port": 4200, "targetPort": int(port)}]},
        },
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": name, "namespace": namespace, "labels": {label: name}},
            "addressType": "IPv4",
            "ports": [{"port": int(port)}],
            "endpoints": [{"addresses": [address]}],
        },
    ]
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": bodies})
    site.node.kubectl("apply", "-f", "-", input=text)


def _normal(text: str) -> list[str]:
    """The words of an output, without what differs each time: digests, ages and durations."""
    text = _LOCK.sub(f"{_SET}-DIGEST", text)
    text = re.sub(r"sha256:[0-9a-f]+", "sha256:DIGEST", text)
    text = re.sub(r"\b\d+\.\d+ s\b", "TIME", text)
    return re.sub(r"\b(\d+[smh])+\b", "AGE", text).split()
