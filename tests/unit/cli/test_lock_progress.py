"""`flowdeps lock` says that it works while a resolution takes long."""

import asyncio

import pytest

from flowdeps.cli.lock import reporting
from tests.unit.scheduling import virtual


@pytest.mark.parametrize(("seconds", "reports"), [(9, 0), (35, 3)])
def test_what_takes_long_is_reported_every_ten_seconds(seconds: int, reports: int) -> None:
    """What comes of it is returned as it is."""
    told = list[float]()

    async def work() -> str:
        await asyncio.sleep(seconds)
        return "a lock"

    start = virtual.run(_now())
    assert virtual.run(reporting(work(), lambda: told.append(virtual.now()))) == "a lock"
    assert [one - start for one in told] == [10.0 * (number + 1) for number in range(reports)]


def test_why_there_is_no_lock_is_raised() -> None:
    """As without reports."""

    async def work() -> str:
        await asyncio.sleep(15)
        raise LookupError("no versions fit")

    with pytest.raises(LookupError, match="no versions fit"):
        virtual.run(reporting(work(), lambda: None))


async def _now() -> float:
    return virtual.now()
