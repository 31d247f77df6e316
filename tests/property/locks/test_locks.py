import contextlib

from hypothesis import given
from hypothesis import strategies as st

from flowdeps.delivery.in_image.mounted import digest_of
from flowdeps.locks.diff import diff, summarize
from flowdeps.locks.lock import Lock, LockError, parse_lock
from flowdeps.locks.platforms import by_platform, merge_platforms
from flowdeps.locks.request import LockRequest
from flowdeps.locks.target import Target
from tests.property.locks.strategies import locks, spellings, targets


@given(locks())
def test_parse_is_the_inverse_of_render(lock: Lock) -> None:
    """A lock survives being written and read."""
    text = lock.render()
    assert parse_lock(text) == lock
    assert parse_lock(text).render() == text


@given(locks(), st.data())
def test_the_digest_does_not_depend_on_order(lock: Lock, data: st.DataObject) -> None:
    """Any order of pins, of their hashes and of image packages is the same lock."""
    pins = data.draw(st.permutations(lock.pins))
    base = data.draw(st.permutations(lock.base))
    other = Lock(lock.target, tuple(pins), tuple(base))
    assert (other.digest, other.render()) == (lock.digest, lock.render())


@given(locks(), locks())
def test_locks_have_one_digest_exactly_if_they_are_equal(one: Lock, other: Lock) -> None:
    """A digest names one lock, and a lock has one text."""
    assert (one == other) == (one.digest == other.digest) == (one.render() == other.render())


@given(locks(), st.lists(st.text()))
def test_a_run_knows_a_lock_by_its_text(lock: Lock, notes: list[str]) -> None:
    """The install script works the digest out as the operator does."""
    assert digest_of(lock.render(notes)) == lock.digest


@given(locks(), st.data())
def test_a_damaged_lock_is_refused_or_is_a_lock(lock: Lock, data: st.DataObject) -> None:
    """No text makes the parser raise anything but its own error."""
    text = lock.render()
    at = data.draw(st.integers(0, len(text)))
    damaged = text[:at] + data.draw(st.text(max_size=3)) + text[at + data.draw(st.integers(0, 9)) :]
    with contextlib.suppress(LockError):
        parse_lock(damaged)


@given(locks())
def test_a_lock_is_what_its_platforms_make_together(lock: Lock) -> None:
    """Taking a lock apart by platform and merging gives the same lock."""
    assert merge_platforms(lock.target, by_platform(lock), base=lock.base) == lock


@given(locks())
def test_a_lock_does_not_differ_from_itself(lock: Lock) -> None:
    """No change is no difference."""
    assert diff(lock, lock) == ()


@given(locks(), locks())
def test_a_diff_names_each_package_whose_pins_differ_once(old: Lock, new: Lock) -> None:
    """What came is new, what went is old, the rest has both."""
    before, after = ({pin.name for pin in lock.pins} for lock in (old, new))
    found = [change for change in diff(old, new) if not change.image]
    changes = {change.name: change for change in found}
    assert len(changes) == len(found)
    for name in before | after:
        pins = [[pin for pin in lock.pins if pin.name == name] for lock in (old, new)]
        assert (name in changes) == (pins[0] != pins[1])
    for change in found:
        there = (change.name in before, change.name in after)
        assert (change.old is not None, change.new is not None) == there


@given(locks(), locks())
def test_locks_without_a_difference_are_equal(old: Lock, new: Lock) -> None:
    """Whatever makes another lock shows in a diff, but for the target."""
    assert (diff(old, new) == ()) == ((old.pins, old.base) == (new.pins, new.base))


@given(locks(), locks(), st.integers(40, 200))
def test_a_summary_fits_and_leaves_nothing_uncounted(old: Lock, new: Lock, limit: int) -> None:
    """A summary is one line within its limit; cut, it says how many changes it leaves out."""
    changes = diff(old, new)
    summary = summarize(changes, limit)
    assert len(summary) <= limit
    assert "\n" not in summary
    shown = sum(str(change) in summary.split(", ") for change in changes)
    if shown < len(changes):
        assert str(len(changes) - shown) in summary or f"{len(changes)} changes" == summary


@given(st.lists(spellings(), max_size=5), targets(), st.data())
def test_equal_requests_have_one_digest(
    pairs: list[tuple[str, str]], target: Target, data: st.DataObject
) -> None:
    """Neither order nor spelling of requirements reaches the inputs digest."""
    one, other = (
        LockRequest(requirements=tuple(texts), target=target)
        for texts in (
            [pair[0] for pair in pairs],
            data.draw(st.permutations([pair[1] for pair in pairs])),
        )
    )
    assert one == other
    assert one.digest == other.digest
