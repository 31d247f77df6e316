"""A cluster of its own on this machine, with real pods. Needs root."""

from contextlib import ExitStack
from pathlib import Path

from demo import screen
from demo.stage import NAMESPACE, Stage, made_index, reaches_default_index
from tests.cluster import binaries, images
from tests.cluster.node import Node
from tests.cluster.prefect import PrefectServer
from tests.cluster.registry import Registry
from tests.support import environments


class NodeStage(Stage):
    """etcd, kube-apiserver, containerd and kubelet, Prefect's server and worker."""

    image = images.FLOW_UV
    can_mount = True
    same_image = "example.com/flowdeps/flow:same"

    def open(self, stack: ExitStack) -> None:
        archive = images.flow()
        screen.say("starting etcd, kube-apiserver, a node for pods, and Prefect's server")
        self._node = Node(directory=self.at("cluster"), detached=self.keep, egress=True)
        self.enter(stack, self._node)
        self._node.load_image(archive)
        self.kubeconfig = self._node.kubeconfig
        self.kubectl_program = binaries.ensure(["kubectl"])["kubectl"]
        self.prefect = PrefectServer(
            host=self._node.gateway, ui=self.keep, directory=self.at("prefect"), detached=self.keep
        )
        self.enter(stack, self.prefect)

    def prepare_environments(self, stack: ExitStack) -> None:
        screen.say(
            "starting a registry, and loading the operator's image, which packs environments"
        )
        registry = Registry(
            host=self._node.gateway, directory=self.at("registry"), detached=self.keep
        )
        self.enter(stack, registry)
        self.environments = environments.prepare(self._node, registry)
        self._node.tag_image(self.image, self.same_image)

    def choose_index(self, stack: ExitStack) -> None:
        probe: list[str | Path] = [
            self.kubectl_program,
            "--kubeconfig",
            self.kubeconfig,
            "run",
            "index-probe",
        ]
        flags = ["-n", NAMESPACE, "--image", self.image, "--image-pull-policy=IfNotPresent"]
        once = ["--restart=Never", "--rm", "-i", "--quiet", "--command", "--", "sh", "-c"]
        if not reaches_default_index([*probe, *flags, *once]):
            self.index = made_index(stack, host=self._node.gateway)
