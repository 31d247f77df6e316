from dataclasses import replace
from itertools import permutations

import pytest
from packaging.utils import canonicalize_name

from flowdeps.locks.lock import Lock, LockError, Pin, notes_in, parse_lock
from flowdeps.locks.target import Target
from tests.unit.locks.builders import AMD64, ARM64, BOTH, base, digest, lock, pin

NUMPY = pin("numpy", "2.3.3", files=("amd64", "arm64"))
UVLOOP = pin("uvloop", "0.21.0", AMD64)


def test_a_lock_is_a_requirements_file_with_its_target_on_top() -> None:
    """The format, to the letter."""
    first, second = NUMPY.hashes
    assert lock(UVLOOP, NUMPY).render() == (
        "# A flowdeps lock. Change the requirements, not this file.\n"
        "# python: 3.11\n"
        "# platforms: linux/amd64, linux/arm64\n"
        "numpy==2.3.3 \\\n"
        f"    --hash={first} \\\n"
        f"    --hash={second}\n"
        'uvloop==0.21.0 ; platform_machine == "x86_64" \\\n'
        f"    --hash={UVLOOP.hashes[0]}\n"
    )


def test_a_lock_names_the_image_packages_that_it_builds_on() -> None:
    """A line each, sorted, which installers take for a comment."""
    lock = Lock(BOTH, (UVLOOP,), base(six="1.17.0", anyio="4.9.0") * 2)
    assert lock.render().splitlines()[3:5] == ["# image: anyio==4.9.0", "# image: six==1.17.0"]


def test_a_lock_for_one_platform_has_no_markers() -> None:
    """A marker says only where a pin holds for less than the whole target."""
    target = Target("3.11", (AMD64,))
    assert ";" not in Lock(target, (UVLOOP,)).render()


@pytest.mark.parametrize(
    "one",
    [
        lock(),
        lock(NUMPY, UVLOOP),
        lock(pin("a", "1.0", AMD64), pin("a", "2.0+cpu", ARM64)),
        Lock(Target("3.13", (ARM64,)), (pin("a", "1!2.0rc1.post1.dev3", ARM64),)),
        Lock(BOTH, (NUMPY,), base(six="1.17.0", torch="2.3.0+cu121")),
        Lock(BOTH, (), base(six="1.17.0")),
    ],
)
def test_a_rendered_lock_reads_back_as_itself(one: Lock) -> None:
    """parse_lock is the inverse of render."""
    assert parse_lock(one.render()) == parse_lock(one.render(["image: a==1\n-r x"])) == one


@pytest.mark.parametrize("note", ["it ends in \\", "a\x1b[2Jb\u2028c\ud800"])
def test_no_note_changes_a_lock_or_a_terminal(note: str) -> None:
    """An index has a say in notes: none takes the next line along, or is more than a line."""
    one = lock(NUMPY, UVLOOP)
    text = one.render([note])
    assert parse_lock(text) == one
    assert len(text.splitlines()) == len(one.render().splitlines()) + 1
    [read] = notes_in(text)
    assert read.isprintable()
    assert notes_in("# note: a\x1b[2J") == ("a�[2J",)


def test_the_digest_is_fixed() -> None:
    """Digests name revisions that exist: this one must never change."""
    assert lock(NUMPY, UVLOOP).digest == (
        "sha256:67948fb21c8b8ea959fd54886d2d8efa3fee4bb500983d19b4fc6d5988b85416"
    )
    assert lock(NUMPY, UVLOOP).short == "67948fb21c"


def test_the_digest_does_not_depend_on_order() -> None:
    """The same pins in any order are one lock: one text, one digest."""
    pins = (NUMPY, UVLOOP, pin("a", "1.0"))
    assert len({lock(*order).digest for order in permutations(pins)}) == 1
    assert len({lock(*order).render() for order in permutations(pins)}) == 1


def test_the_digest_depends_on_each_pin_hash_and_target() -> None:
    """Whatever an install would do differently gives another digest."""
    locks = [
        lock(NUMPY),
        lock(NUMPY, UVLOOP),
        lock(replace(NUMPY, version="2.3.4")),
        lock(replace(NUMPY, name=canonicalize_name("numpy2"))),
        lock(replace(NUMPY, hashes=NUMPY.hashes[:1])),
        lock(replace(NUMPY, platforms=(AMD64,))),
        Lock(Target("3.12", BOTH.platforms), (NUMPY,)),
        Lock(Target("3.11", (AMD64,)), (replace(NUMPY, platforms=(AMD64,)),)),
        Lock(BOTH, (NUMPY,), base(six="1.17.0")),
        Lock(BOTH, (NUMPY,), base(six="1.16.0")),
    ]
    assert len({one.digest for one in locks}) == len(locks)


def test_comments_blank_lines_and_joined_lines_do_not_matter() -> None:
    """What an editor may do to a lock leaves it the same lock."""
    text = f"""
        # somebody's note
        # python: 3.11

        # platforms: linux/arm64 linux/amd64
        a==1.0   --hash={digest("x")}
    """
    a = canonicalize_name("a")
    assert parse_lock(text).pins == (Pin(a, "1.0", (digest("x"),), BOTH.platforms),)
    assert parse_lock(f"\ufeff{text}") == parse_lock(text)  # of a file that Windows saved


HEADER = "# python: 3.11\n# platforms: linux/amd64\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a==1.0\n", "line 1: not a flowdeps lock: it has no line '# python: …'"),
        ("# python: 3.11\n", "line 1: not a flowdeps lock: it has no line '# platforms: …'"),
        ("# python: 3\n# platforms: linux/amd64\n", "the lock's header: Python '3' is not"),
        (f"{HEADER}a==1.0\n", "line 3: a==1.0 has no hash"),
        (f"{HEADER}\n\na==1.0 \\\n    --hash=md5:0\n", "line 5: a==1.0: 'md5:0' is not a sha256"),
        (f"{HEADER}a>=1.0 --hash={digest('x')}\n", "line 3: 'a>=1.0' is not a pin like name==ver"),
        (f"{HEADER}a==1.0 \\\n", "line 3: the text ends in the middle of a pin"),
        (f"{HEADER}-r x.txt\n", "line 3: '-r x.txt' is not a pin"),
        (f"{HEADER}A==1.0 --hash={digest('x')}\n", "line 3: 'A' is not a normalized package name"),
        (f"{HEADER}a.b==1.0 --hash={digest('x')}\n", "line 3: 'a.b' is not a normalized package"),
        (f"{HEADER}-a==1.0 --hash={digest('x')}\n", "line 3: '-a' is not a package name"),
        (f"{HEADER}a,b==1.0 --hash={digest('x')}\n", "line 3: 'a,b' is not a package name"),
        (f"{HEADER}a[b]==1.0 --hash={digest('x')}\n", "line 3: 'a[b]': a pin has no extras; name"),
        (f"{HEADER}# image: six[x]==1.0\n", "line 3: 'six[x]': a pin has no extras; name six with"),
        (f"{HEADER}a==01 --hash={digest('x')}\n", "line 3: a: '01' is not a normalized version"),
        (f"{HEADER}# image: six\n", "line 3: 'six' is not an image package like name==version"),
        (f"{HEADER}# image: six==1 ; x\n", "line 3: 'six==1 ; x' is not an image package"),
        (f"{HEADER}# image: Six==1.0\n", "line 3: 'Six' is not a normalized package name"),
        (f"{HEADER}# image: six==01\n", "line 3: six: '01' is not a normalized version"),
        (
            f"{HEADER}# image: six==1.0\n# image: six==2.0\n",
            "an image package is named with two versions",
        ),
        (
            f'{HEADER}a==1.0 ; sys_platform == "win32" --hash={digest("x")}\n',
            "line 3: the marker 'sys_platform == \"win32\"' is not one that a lock has",
        ),
        (
            f'{HEADER}a==1.0 ; platform_machine == "aarch64" --hash={digest("x")}\n',
            "line 3: a: its platforms are not those of the lock",
        ),
        (
            f"{HEADER}a==1.0 --hash={digest('x')}\na==2.0 --hash={digest('x')}\n",
            "line 4: a is pinned twice for one platform",
        ),
    ],
)
def test_a_text_that_is_no_lock_is_refused_with_its_line(text: str, message: str) -> None:
    """The message says where, and what is wrong there."""
    with pytest.raises(LockError) as caught:
        parse_lock(text)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    "line",
    [
        "a==1.0" + " " * 500 + "--hash=sha256:" + "0" * 64,
        "a==1.0 ;" + " " * 500 + "b",
        "a==" + "1" * 5000,
        "a==1.0 ; " + " or " * 500,
        "a==1.0 --hash=" + "é" * 500,
    ],
)
def test_a_hostile_line_of_a_lock_is_refused_in_a_few_words(line: str) -> None:
    """Whatever it holds, the message has no more of it than a line."""
    with pytest.raises(LockError) as caught:
        parse_lock(f"# python: 3.12\n# platforms: linux/amd64\n{line}x\n")
    assert len(str(caught.value)) < 250
