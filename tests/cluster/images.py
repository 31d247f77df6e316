"""The images that pods run: flow images with Prefect, and the one that holds a pod's namespaces.

The flow images share their layers: Debian, this machine's certificates, Prefect, the flows; one has
uv on top, another packages of its own that its PYTHONPATH leads to. Each layer is a cache entry of
its own, so a changed flow costs one small layer and a new archive. All default to user 1000, and
``python`` is the interpreter that has Prefect.
"""

from pathlib import Path

from tests.cluster import cache, distributions, oci, rootfs, tools
from tests.cluster.nodeconfig import PAUSE_IMAGE

FLOW_UV = "example.com/flowdeps/flow:uv"
FLOW_PIP = "example.com/flowdeps/flow:pip"
# As FLOW_PIP, with the distributions ``baked`` and ``layered``, both 1.0, in BAKED.
FLOW_PATH = "example.com/flowdeps/flow:pythonpath"
BAKED = "/opt/baked"
PAUSE = PAUSE_IMAGE  # has no Python, nor anything else
FLOWS = "/opt/flows"

_FLOWS = Path(__file__).with_name("flows")
_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")


def flow() -> Path:
    """An archive of all flow images, made where it is not in the cache (minutes, root)."""
    base, uv, baked = _base(), _uv_layer(), _baked_layer()
    key = cache.digest(*(layer.parent.name for layer in (*base, uv, baked)))

    def make(at: Path) -> None:
        images = [
            oci.Image(name=FLOW_PIP, layers=base, config=_config()),
            oci.Image(name=FLOW_UV, layers=[*base, uv], config=_config()),
            oci.Image(name=FLOW_PATH, layers=[*base, baked], config=_config(PYTHONPATH=BAKED)),
        ]
        oci.write_archive(images, at / "flow.tar")

    return cache.entry(f"images/flow-{key}", make) / "flow.tar"


def flow_with(tree: Path, *, name: str, directory: Path) -> Path:
    """An archive of FLOW_UV with what stands in ``tree`` on top, under another name."""
    oci.layer_of_tree(tree, directory / "layer.tar")
    layers = [*_base(), _uv_layer(), directory / "layer.tar"]
    archive = directory / "flow.tar"
    oci.write_archive([oci.Image(name=name, layers=layers, config=_config())], archive)
    return archive


def pause(program: Path) -> Path:
    """An archive of the image that holds a pod's namespaces."""

    def make(at: Path) -> None:
        oci.layer_of_files({"pause": (program.read_bytes(), 0o755)}, at / "layer.tar")
        image = oci.Image(
            name=PAUSE_IMAGE, layers=[at / "layer.tar"], config={"Entrypoint": ["/pause"]}
        )
        oci.write_archive([image], at / "pause.tar")

    return cache.entry(f"images/pause-{cache.digest(program)}", make) / "pause.tar"


def _base() -> list[Path]:
    return [rootfs.debian_layer(), _certificates_layer(), rootfs.prefect_layer(), _flows_layer()]


def _config(**variables: str) -> dict[str, object]:
    certificates = str(_CERTIFICATES)
    environment = {
        "PATH": f"{rootfs.ENVIRONMENT}/bin:/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "HOME": "/home/flow",
        # Interpreters, pip and uv bring certificates along; behind a proxy only these will do.
        "SSL_CERT_FILE": certificates,
        "PIP_CERT": certificates,
        **variables,
    }
    return {
        "User": str(rootfs.UID),
        "Env": [f"{name}={value}" for name, value in environment.items()],
        "WorkingDir": "/home/flow",
        "Cmd": ["python"],
    }


def _certificates_layer() -> Path:
    """This machine's bundle, where it has one, in place of Debian's."""
    content = _CERTIFICATES.read_bytes() if _CERTIFICATES.exists() else b""
    files = {str(_CERTIFICATES).strip("/"): (content, 0o644)} if content else {}
    return _files_layer("certificates", files)


def _uv_layer() -> Path:
    return _files_layer("uv", {"usr/local/bin/uv": (tools.uv().read_bytes(), 0o755)})


def _baked_layer() -> Path:
    files = {}
    for name in ("baked", "layered"):
        metadata = distributions.core_metadata(name=name, version="1.0")
        files[f"{name}/__init__.py"] = b'__version__ = "1.0"\n'
        files[f"{name}-1.0.dist-info/METADATA"] = metadata
    return _files_layer(
        "baked", {f"{BAKED.strip('/')}/{path}": (one, 0o644) for path, one in files.items()}
    )


def _flows_layer() -> Path:
    return _files_layer(
        "flows",
        {
            f"{FLOWS.strip('/')}/{path.name}": (path.read_bytes(), 0o644)
            for path in sorted(_FLOWS.glob("*.py"))
        },
    )


def _files_layer(name: str, files: dict[str, tuple[bytes, int]]) -> Path:
    key = cache.digest(*(part for path, (content, _) in files.items() for part in (path, content)))
    return (
        cache.entry(f"images/{name}-{key}", lambda at: oci.layer_of_files(files, at / "layer.tar"))
        / "layer.tar"
    )
