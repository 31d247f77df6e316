"""Reads from a Secret what a resolver and an install container need.

username, password    for the first index of the set
netrc                 a netrc file, for several indexes; with username, its lines come after
ca.crt                certificates of authorities that the indexes' certificates are signed by
"""

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from flowdeps.locks.access import Access
from flowdeps.locks.index import Index

NETRC_FILE = "netrc"
CA_FILE = "ca.crt"
LOGIN = ("username", "password")
_KEYS = (*LOGIN, NETRC_FILE, CA_FILE)
UNWRITABLE = re.compile(r"[\s\"'\\#]|[^\x21-\x7e]")
"""What a netrc file has no way to write."""
_LIMIT = 256 * 1024
_CERTIFICATE = "-----BEGIN CERTIFICATE-----"


class CredentialsError(ValueError):
    """Why a Secret can't be used. The text names the key and quotes nothing of its value."""


def secret_data(body: Mapping[str, Any]) -> dict[str, str]:
    """Return the keys of a Secret that matter here, decoded; what is no text is empty."""
    found = {}
    for key, text in (body.get("data") or {}).items():
        if key in _KEYS:
            try:
                found[key] = base64.b64decode(text).decode()
            except (binascii.Error, UnicodeDecodeError):
                found[key] = ""
    return found


def access_of(data: Mapping[str, str], *, name: str, index: Index) -> Access:
    """Return what opens the indexes, from a Secret's data. Raises CredentialsError."""
    for key, text in data.items():
        if not text.strip():
            raise CredentialsError(f'Secret {name}: key "{key}" is empty or no text; fill it in')
        if len(text) > _LIMIT:
            raise CredentialsError(f'Secret {name}: key "{key}" is longer than {_LIMIT} bytes')
    login = {key: data[key].strip("\n") for key in LOGIN if key in data}
    if len(login) == 1:
        [missing] = set(LOGIN) - login.keys()
        raise CredentialsError(f'Secret {name}: key "{missing}" is missing; add it')
    for key, text in login.items():
        if UNWRITABLE.search(text):
            raise CredentialsError(
                f'Secret {name}: key "{key}" has a space, quote, "#" or sign outside ASCII,'
                " which a netrc file can't hold; choose another"
            )
    lines = []
    if login:
        if not index.urls:
            raise CredentialsError(
                f"Secret {name} has a username, but no index is named; set spec.index.url, or use"
                ' the key "netrc"'
            )
        host = urlsplit(index.urls[0]).hostname
        lines.append(f"machine {host} login {login['username']} password {login['password']}")
    if netrc := data.get(NETRC_FILE):
        lines.append(netrc.strip("\n"))
    ca = data.get(CA_FILE, "")
    if ca and _CERTIFICATE not in ca:
        raise CredentialsError(f'Secret {name}: key "{CA_FILE}" is no certificate in PEM form')
    if not lines and not ca:
        raise CredentialsError(
            f"Secret {name} has none of the keys username and password, {NETRC_FILE}, {CA_FILE};"
            " add them"
        )
    return Access(netrc="".join(f"{line}\n" for line in lines), ca=ca)
