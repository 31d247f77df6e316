"""`environments` of the configuration: where ready environments are kept, and who makes them."""

import re
from dataclasses import dataclass

from flowdeps.api import rules
from flowdeps.api.fields import Fields

_HOST = r"([a-z0-9-]+(\.[a-z0-9-]+)+(:[0-9]{1,5})?|[a-z0-9-]+:[0-9]{1,5}|localhost)"
_PART = r"[a-z0-9]+([._-]+[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_HOST}(/{_PART})*")
_PROXY = re.compile(r"https?://[^/?#@\s]+/?")
_PATH = re.compile(rf"{_PART}(/{_PART})*")


@dataclass(frozen=True, kw_only=True)
class EnvironmentsConfig:
    """Where environments are kept, and how runs get them."""

    repository: str = ""
    """In a registry; those of a namespace are in the repository of its name below. Empty: there
    are none."""
    image: str = ""
    """The image that packs them, which is the operator's own."""
    push_secret: str = ""
    """The Secret in the namespaces of sets with which they are pushed; empty: none is needed."""
    pull_secret: str = ""
    """The Secret in the namespaces of runs with which they are put on claims; empty: none is
    needed."""
    plain_http: bool = False
    """Whether the registry has no TLS."""
    proxy: str = ""
    """The proxy through which they are pushed; empty: none."""
    images: bool = False
    """Whether an image is derived beside each: the flow's image with the environment in it."""
    delete_unused: bool = False
    """Whether environments are deleted in the registry once nothing names their lock. Only for who
    has the repository alone."""
    admission: str = "Auto"
    """Whether pods get them by an admission policy: `Auto`, `Enabled` or `Disabled`."""
    policy: str = ""
    """The name of that policy."""

    def repository_of(self, namespace: str) -> str:
        """Return the repository of a namespace's environments; empty where there are none."""
        return f"{self.repository}/{namespace}" if self.repository else ""

    @property
    def missing(self) -> str:
        """What an operator lacks to make environments, and what to do; empty where nothing."""
        if self.repository and not self.image:
            return (
                "environments.image: missing; write the operator's own image, which packs"
                " environments (the chart does), or remove environments.repository"
            )
        return ""


def parse_environments(fields: Fields) -> EnvironmentsConfig:
    """Parse `environments`."""
    return fields.build(
        EnvironmentsConfig,
        repository=fields.text("repository", limit=512, check=_check_repository),
        image=fields.text("image", limit=1024, check=rules.check_image),
        push_secret=_parse_secret(fields.child("pushSecretRef")),
        pull_secret=_parse_secret(fields.child("pullSecretRef")),
        plain_http=fields.boolean("plainHttp"),
        proxy=fields.text("proxy", limit=1024, check=_check_proxy),
        images=fields.boolean("images"),
        delete_unused=fields.boolean("deleteUnused"),
        admission=fields.text("admission", check=rules.one_of("Auto", "Enabled", "Disabled")),
        policy=fields.text("policy", limit=253, check=rules.check_object_name),
    )


def _parse_secret(fields: Fields) -> str | None:
    name = fields.text("name", required=fields.given, limit=253, check=rules.check_object_name)
    fields.close()
    return name


def _check_repository(text: str) -> str | None:
    example = "such as registry.example.com/flowdeps"
    if "://" in text:
        return f"{text.partition('://')[0]}:// is no part of a repository; write it {example}"
    if _REPOSITORY.fullmatch(text):
        return None
    if "@" in text or ":" in text.rpartition("/")[2]:
        return f"{text!r} has a tag or a digest, which flowdeps gives itself; write it {example}"
    if _PATH.fullmatch(text):
        return f"{text!r} names no registry; write its host first, {example}"
    return f"{text!r} is not a repository; write it {example}"


def _check_proxy(text: str) -> str | None:
    if "@" in text:
        return "a user name or password in a URL is not allowed; remove the part before '@'"
    if _PROXY.fullmatch(text):
        return None
    return f"{text!r} is not a proxy; write it such as http://proxy.example.com:3128"
