"""Reads the configuration and other files that a command line names, and makes the resolver."""

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import yaml

from flowdeps.api.allowed import ANY
from flowdeps.api.config import Config, parse_config
from flowdeps.api.names import TEMPORARY
from flowdeps.api.problems import InvalidError
from flowdeps.cli.failure import CommandError
from flowdeps.gather.sources import TextError, decode
from flowdeps.resolver.child import Limits
from flowdeps.resolver.network import Network, cluster_services
from flowdeps.resolver.resolve import Resolver


def add_config(parser: argparse.ArgumentParser) -> None:
    """Add `--config`."""
    parser.add_argument(
        "--config",
        metavar="FILE",
        default=os.environ.get("FLOWDEPS_CONFIG"),
        help="the operator's configuration, YAML (default: $FLOWDEPS_CONFIG, else all defaults)",
    )


def read_config(file: str | None) -> Config:
    """The configuration in `file`, or the defaults. Raises CommandError."""
    if file is None:
        return Config()
    try:
        document = yaml.safe_load(Path(file).read_text(encoding="utf-8"))
    except OSError as error:
        raise CommandError(f"{file}: {error.strerror}") from None
    except (yaml.YAMLError, ValueError) as error:  # also text that isn't UTF-8, and odd dates
        raise CommandError(f"{file}: not YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise CommandError(f"{file}: nested too deeply") from None
    if not isinstance(document, dict | None):
        raise CommandError(f"{file}: not a mapping; write fields such as `prefect:`")
    try:
        return parse_config(document or {})
    except InvalidError as error:
        raise CommandError(*(f"{file}: {one}" for one in error.problems)) from None


def read_text(file: str) -> str:
    """Return the text of a file, without a byte order mark. Raises CommandError."""
    try:
        return decode(Path(file).read_bytes())
    except OSError as error:
        raise CommandError(f"{file}: {error.strerror}") from None
    except TextError as error:
        raise CommandError(f"{file}: {error}") from None


def read_document(file: str) -> Any:
    """Return what a file has, JSON or YAML, as JSON would have it. Raises CommandError."""
    text = read_text(file)
    try:
        try:
            return json.loads(text)
        except ValueError:
            return json.loads(json.dumps(yaml.safe_load(text), allow_nan=False))
    except TypeError:
        raise CommandError(
            f"{file}: it has a date, which JSON has not; write it in quotes"
        ) from None
    except (yaml.YAMLError, ValueError) as error:
        what = " ".join(str(error).split())
        raise CommandError(f"{file}: neither JSON nor YAML: {what}") from None
    except RecursionError:
        raise CommandError(f"{file}: nested too deeply") from None


def make_resolver(config: Config, *, guarded: bool) -> Resolver:
    """Return the resolver that the configuration describes; ``guarded``: the requests are those of
    others, so their indexes reach only what it opens."""
    settings = config.resolver
    return Resolver(
        limits=Limits(
            timeout=settings.timeout.total_seconds(),
            memory=settings.memory,
            file=settings.cache_size // 4,
            written=settings.cache_size,
        ),
        cache=cache_directory(config),
        cache_size=settings.cache_size,
        network=_network(config) if guarded else None,
    )


def _network(config: Config) -> Network:
    denied = config.denied_networks
    named = (*config.index.all_urls, *config.allowed_indexes)
    return Network(
        trusted=tuple(one for one in named if one != ANY),
        allowed=config.allowed_networks,
        denied=cluster_services(os.environ) if denied is None else denied,
    )


def cache_directory(config: Config) -> Path:
    """Return where uv caches, which is made if it is not there."""
    if config.resolver.cache_directory:
        return Path(config.resolver.cache_directory)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    try:
        path = Path(base) / "flowdeps" / "uv"
        path.mkdir(parents=True, exist_ok=True)
    except OSError:
        # A container without a home: its own temporary directory will do.
        return Path(tempfile.gettempdir()) / f"{TEMPORARY}uv"
    return path
