"""Installed packages as an installer is told of them, by the operator and in a run."""

import io
import zipfile

import pytest

from flowdeps.delivery.in_image.stub import required_here, stub_filename, stub_wheel

LONG = ("typing-extensions", "4.15.0+own.1")


def wheel(*requires: str, extras: tuple[str, ...] = ()) -> bytes:
    return stub_wheel(*LONG, requires=requires, extras=extras, present={"six"})


def test_a_stub_is_a_wheel_without_code() -> None:
    """The same bytes each time, with the name that installers expect."""
    assert stub_filename(*LONG) == "typing_extensions-4.15.0+own.1-py3-none-any.whl"
    made = wheel("six>=1", "x !", extras=("e", "no extra"))
    assert made == wheel("six>=1", "x !", extras=("e", "no extra"))
    with zipfile.ZipFile(io.BytesIO(made)) as archive:
        assert archive.testzip() is None
        info = "typing_extensions-4.15.0+own.1.dist-info"
        assert archive.namelist() == [f"{info}/{one}" for one in ("METADATA", "WHEEL", "RECORD")]
        assert archive.read(f"{info}/METADATA").decode() == (
            "Metadata-Version: 2.1\nName: typing-extensions\nVersion: 4.15.0+own.1\n"
            "Provides-Extra: e\nRequires-Dist: six>=1\n"
        )


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("six", "six"),
        ("six >=1.5, <2", "six>=1.5, <2"),
        ("six (>=1.5)", "six>=1.5"),
        ("six[a,b]~=1.5", "six[a,b]~=1.5"),
        ("Six@https://example.com/six.whl", "Six"),
        ("six @ git+https://example.com/six.git@v1#egg=six", "six"),
        ("six[a] @ file:///src/six ; extra == 'dev'", "six[a] ; extra == 'dev'"),
        ("six @ https://example.com/six.whl;extra", "six"),
        ("gone @ https://example.com/gone.whl", None),
        ("gone>=1", "gone>=1"),
        ("redis; extra == 'redis'", "redis ; extra == 'redis'"),
        (
            "x>=1; (os_name == 'nt' or python_version not in '3.8') and extra == \"e\"",
            "x>=1 ; (os_name == 'nt' or python_version not in '3.8') and extra == \"e\"",
        ),
        ("pytz (>=2004d)", None),
        ("pytz>=2004.*", None),
        ("pytz==2004.*", "pytz==2004.*"),
        ("six===what-ever", "six===what-ever"),
        ("six~=1", None),
        ("six (>=1", None),
        ("six; sys.platform", None),
        ("six; (extra == 'a'", None),
        ("six; python_version >= 3", None),
        ("not a requirement !!", None),
        ("y\nz", None),
        ("six-", None),
        ("a" * 200_000 + "(", None),  # at once: the operator reads what tenants' images say
        ("", None),
    ],
)
def test_a_requirement_is_told_as_far_as_it_can_be_read(text: str, kept: str | None) -> None:
    """By its name where it had a URL, if that name is there; no line that an installer refuses."""
    assert required_here(text, {"six"}) == kept
