"""The container of ours that has credentials of the registry, beside those in a flow's image."""

from pathlib import Path

from flowdeps.api.environmentconfig import EnvironmentsConfig
from flowdeps.api.names import PACK_CONTAINER
from flowdeps.api.trialconfig import PodsConfig
from flowdeps.trials.image import ImageRef
from flowdeps.trials.pods import build_pod

_ROOT = Path(__file__).parents[3]


def test_the_packing_container_shares_nothing_that_it_runs_or_writes() -> None:
    """What was in the flow's image is mounted read-only, beside the program and not in its place;
    no other container mounts what this one writes to, or the credentials."""
    pod = build_pod(
        name="flowdeps-build-1",
        tag="0123456789-0123456789",
        image_id="registry.example.com/flows@sha256:1",
        environments=EnvironmentsConfig(
            repository="registry.example.com/envs", image="example.com/pack:1", push_secret="push"
        ),
        ref=ImageRef("team-a", "registry.example.com/flows:1"),
        labels={},
        secret="flowdeps-ml",
        set_name="team-a/ml",
        imports=(),
        names=("alpha",),
        timeout_seconds=300,
        settings=PodsConfig(),
    )["spec"]
    [pack] = pod["containers"]
    assert pack["name"] == PACK_CONTAINER
    program = "/opt/flowdeps"
    assert f"COPY --from=build {program} {program}" in (_ROOT / "Containerfile").read_text()
    assert not [
        mount
        for mount in pack["volumeMounts"]
        if f"{mount['mountPath']}/".startswith(f"{program}/")
        or program.startswith(f"{mount['mountPath']}/")
    ]
    of_others = {mount["name"] for one in pod["initContainers"] for mount in one["volumeMounts"]}
    shared = [one for one in pack["volumeMounts"] if one["name"] in of_others]
    assert shared
    assert all(one.get("readOnly") for one in shared)
    [secret] = [
        one["name"] for one in pod["volumes"] if one.get("secret", {}).get("secretName") == "push"
    ]
    assert secret in {one["name"] for one in pack["volumeMounts"]} - of_others
    [tree] = [one["mountPath"] for one in pack["volumeMounts"] if one["name"] == "flowdeps-site"]
    assert pack["args"] == ["pack", f"--tree={tree}"]
