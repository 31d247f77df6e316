from dataclasses import replace

from flowdeps.locks.diff import Change, diff, summarize
from tests.unit.locks.builders import AMD64, ARM64, base, digest, lock, pin

OLD = lock(pin("pandas", "2.3.2"), pin("six", "1.16"), pin("zict", "3.0"))
NEW = lock(pin("pandas", "2.3.3"), pin("pyarrow", "21.0.0"), pin("zict", "3.0"))


def test_a_diff_names_what_moved_came_and_went() -> None:
    """Equal pins are not in a diff; the rest is, sorted by name."""
    assert diff(OLD, NEW) == (
        Change("pandas", "2.3.2", "2.3.3"),
        Change("pyarrow", None, "21.0.0"),
        Change("six", "1.16", None),
    )


def test_a_summary_is_one_line() -> None:
    """Moves first, then what came, then what went."""
    assert summarize(diff(OLD, NEW), 100) == "pandas 2.3.2 → 2.3.3, +pyarrow 21.0.0, -six 1.16"


def test_the_first_lock_is_all_new() -> None:
    """Without a lock before, each pin came."""
    assert summarize(diff(None, lock(pin("b", "2.0"), pin("a", "1.0"))), 100) == "+a 1.0, +b 2.0"


def test_nothing_changed_is_the_empty_text() -> None:
    """A lock has no difference from itself."""
    assert diff(OLD, OLD) == ()
    assert summarize((), 100) == ""


def test_versions_that_differ_between_platforms_are_both_named() -> None:
    """A package with two versions shows both."""
    new = lock(pin("a", "1.0", AMD64), pin("a", "2.0", ARM64))
    assert summarize(diff(lock(pin("a", "1.0")), new), 100) == "a 1.0 → 1.0|2.0"


def test_other_files_of_the_same_version_are_a_change() -> None:
    """A wheel that was added or replaced shows, since it gives another lock."""
    old = pin("a", "1.0")
    new = replace(old, hashes=(*old.hashes, digest("another")))
    assert summarize(diff(lock(old), lock(new)), 100) == "a 1.0 (files)"


def test_image_packages_that_a_lock_builds_on_come_last() -> None:
    """A lock that differs by them alone has a difference; each is marked."""
    old = replace(lock(pin("b", "1.0")), base=base(a="1.0", six="1.16.0", zict="3.0"))
    new = replace(lock(pin("b", "2.0")), base=base(six="1.17.0", yarl="1.0", zict="3.0"))
    assert summarize(diff(old, new), 100) == (
        "b 1.0 → 2.0, -a 1.0 (image), six 1.16.0 → 1.17.0 (image), +yarl 1.0 (image)"
    )
    moved = replace(lock(pin("six", "1.17.0")), base=())
    assert summarize(diff(replace(lock(), base=base(six="1.16.0")), moved), 100) == (
        "+six 1.17.0, -six 1.16.0 (image)"
    )


def test_a_summary_counts_what_does_not_fit() -> None:
    """A long diff is cut between changes, and says how many are left out."""
    new = lock(*(pin(f"package-{i:03}", "1.0") for i in range(100)))
    summary = summarize(diff(None, new), 60)
    assert summary == "+package-000 1.0, +package-001 1.0, and 98 more"
    assert summarize(diff(None, new), 20) == "100 changes"
