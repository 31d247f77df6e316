"""Distributions made in memory, byte for byte the same each time.

A wheel is a zip file of modules and a ``.dist-info`` directory (METADATA, WHEEL, RECORD); a source
distribution is a tar.gz file with PKG-INFO and a pyproject.toml. Times are fixed and nothing is
compressed by a library whose version could matter, so the same call gives the same hash anywhere:
locks made from these packages can be compared as text.
"""

import base64
import gzip
import hashlib
import io
import re
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.parser import HeaderParser

# Old enough for every cooldown, and a time that zip files can express.
LONG_AGO = datetime(2024, 1, 1, tzinfo=UTC)
_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)

# What the build backend of a source distribution does: nobody may get this far unnoticed.
REFUSING_BACKEND = """\
def __getattr__(name):
    raise RuntimeError("a source distribution was built")
"""


def normalized(name: str) -> str:
    """The name as the simple API spells it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


@dataclass(frozen=True, kw_only=True)
class Distribution:
    """One file of a release, with all that an index says about it."""

    project: str
    version: str
    filename: str
    content: bytes
    metadata: bytes | None  # None where the index must not offer it apart (sdists)
    requires_python: str | None
    upload_time: datetime
    yanked: bool | str

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


def core_metadata(
    *,
    name: str,
    version: str,
    requires: Sequence[str] = (),
    extras: Mapping[str, Sequence[str]] | None = None,
    requires_python: str | None = None,
) -> bytes:
    """METADATA / PKG-INFO; an extra's requirements carry its marker."""
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    if requires_python is not None:
        lines.append(f"Requires-Python: {requires_python}")
    lines += [f"Requires-Dist: {requirement}" for requirement in requires]
    for extra, wanted in (extras or {}).items():
        lines.append(f"Provides-Extra: {extra}")
        for requirement in wanted:
            text, _, marker = requirement.partition(";")
            condition = f"({marker.strip()}) and " if marker else ""
            lines.append(f'Requires-Dist: {text.strip()}; {condition}extra == "{extra}"')
    return ("\n".join(lines) + "\n").encode()


def wheel(
    *,
    name: str,
    version: str,
    tag: str = "py3-none-any",
    requires: Sequence[str] = (),
    extras: Mapping[str, Sequence[str]] | None = None,
    modules: Mapping[str, str | bytes] | None = None,
    requires_python: str | None = None,
    upload_time: datetime = LONG_AGO,
    yanked: bool | str = False,
) -> Distribution:
    """A wheel. ``modules`` maps paths in site-packages to contents.

    Without ``modules`` it holds one package of the distribution's name with ``__version__``.
    """
    stem = normalized(name).replace("-", "_")
    metadata = core_metadata(
        name=name,
        version=version,
        requires=requires,
        extras=extras,
        requires_python=requires_python,
    )
    if modules is None:
        modules = {f"{stem}/__init__.py": f'__version__ = "{version}"\n'}
    info = f"{stem}-{version}.dist-info"
    files = {path: _bytes(content) for path, content in modules.items()}
    files[f"{info}/METADATA"] = metadata
    files[f"{info}/WHEEL"] = _wheel_file(tag)
    record = [f"{path},{_record_hash(content)},{len(content)}" for path, content in files.items()]
    record.append(f"{info}/RECORD,,")
    files[f"{info}/RECORD"] = ("\n".join(record) + "\n").encode()
    return Distribution(
        project=normalized(name),
        version=version,
        filename=f"{stem}-{version}-{tag}.whl",
        content=_zip(files),
        metadata=metadata,
        requires_python=requires_python,
        upload_time=upload_time,
        yanked=yanked,
    )


def sdist(
    *,
    name: str,
    version: str,
    requires: Sequence[str] = (),
    requires_python: str | None = None,
    backend: str = REFUSING_BACKEND,
    upload_time: datetime = LONG_AGO,
    yanked: bool | str = False,
) -> Distribution:
    """A source distribution whose in-tree build backend is ``backend``."""
    stem = f"{normalized(name).replace('-', '_')}-{version}"
    metadata = core_metadata(
        name=name, version=version, requires=requires, requires_python=requires_python
    )
    project = (
        "[build-system]\n"
        'requires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n\n'
        # Dynamic: a resolver that trusts the file alone must not get by without the build.
        f'[project]\nname = "{name}"\ndynamic = ["version", "dependencies"]\n'
    )
    files = {
        f"{stem}/PKG-INFO": metadata,
        f"{stem}/pyproject.toml": project.encode(),
        f"{stem}/backend.py": backend.encode(),
    }
    return Distribution(
        project=normalized(name),
        version=version,
        filename=f"{stem}.tar.gz",
        content=_tar_gz(files),
        metadata=None,
        requires_python=requires_python,
        upload_time=upload_time,
        yanked=yanked,
    )


def from_wheel(filename: str, content: bytes, *, upload_time: datetime = LONG_AGO) -> Distribution:
    """An existing wheel, described by its own METADATA."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        [path] = [
            entry
            for entry in archive.namelist()
            if entry.endswith(".dist-info/METADATA") and entry.count("/") == 1
        ]
        metadata = archive.read(path)
    headers = HeaderParser().parsestr(metadata.decode())
    return Distribution(
        project=normalized(str(headers["Name"])),
        version=str(headers["Version"]),
        filename=filename,
        content=content,
        metadata=metadata,
        requires_python=headers["Requires-Python"],
        upload_time=upload_time,
        yanked=False,
    )


def _bytes(content: str | bytes) -> bytes:
    return content.encode() if isinstance(content, str) else content


def _record_hash(content: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest())
    return "sha256=" + digest.rstrip(b"=").decode()


def _wheel_file(tag: str) -> bytes:
    """The WHEEL file: a compressed tag (``a.b-c-d.e``) is written out as all it stands for."""
    python, abi, platform = tag.split("-")
    lines = [
        "Wheel-Version: 1.0",
        "Generator: flowdeps-tests",
        f"Root-Is-Purelib: {'true' if platform == 'any' else 'false'}",
    ]
    lines += [
        f"Tag: {one}-{two}-{three}"
        for one in python.split(".")
        for two in abi.split(".")
        for three in platform.split(".")
    ]
    return ("\n".join(lines) + "\n").encode()


def _zip(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for path, content in files.items():
            entry = zipfile.ZipInfo(path, _ZIP_EPOCH)
            entry.create_system = 3
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, content)
    return buffer.getvalue()


def _tar_gz(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    # Level 0 stores: what a zlib makes of higher levels depends on its version.
    with (
        gzip.GzipFile(fileobj=buffer, mode="wb", compresslevel=0, mtime=0) as compressed,
        tarfile.open(fileobj=compressed, mode="w", format=tarfile.USTAR_FORMAT) as archive,
    ):
        for path, content in files.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()
