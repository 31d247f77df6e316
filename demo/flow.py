"""The demo's flow: it says where a package comes from, or that it is not there."""

import importlib
from importlib.metadata import version

from prefect import flow, get_run_logger


@flow(name="flowdeps-demo")
def where(package: str = "emoji") -> None:
    try:
        module = importlib.import_module(package)
    except ImportError:
        get_run_logger().info("%s: not in the image, and no set was chosen", package)
    else:
        get_run_logger().info("%s %s from %s", package, version(package), module.__file__)
