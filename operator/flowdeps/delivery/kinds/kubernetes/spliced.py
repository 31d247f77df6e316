"""Write the list that a variable gives item by item, so that ours fit beside it.

A placeholder among the items of a list becomes a list in a list. But the worker also fills in one
item, ``volumes[0]``, and leaves out an item that a run does not have, or whose variable is no list.
So ``LIMIT`` placeholders of items are exactly the run's list. ``beyond`` tells our
init container of a run whose list is longer, and of a worker that fills in no items: it ends such a
run, because what is missing would be missing unseen.

Prefect's server demands that a template declares its placeholders, and takes an item for another
variable. It searches the template's JSON text, where a line break is no white space. The worker
searches the value, where it is.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any

LIMIT = 100
_ITEM = re.compile(r"{{ (\S+)\[\d+]\n}}")


def spliced(variable: str) -> list[str]:
    """Return the items of the variable's list as placeholders."""
    return [_item(variable, number) for number in range(LIMIT)]


def beyond(variables: Iterable[str], *, known: str) -> str:
    """Return what has, behind its first space, more than white space in a run that gives one of the
    variables a longer list, and nothing before it where the worker fills in no items: ``known`` is
    a variable that each run has as text, whose first letter is an item as well."""
    return _item(known, 0) + " " + "".join(_item(variable, LIMIT) for variable in variables)


def variable_of(item: Any) -> str | None:
    """Return the variable whose list the item is of; None for an item of any other making."""
    found = _ITEM.fullmatch(item) if isinstance(item, str) else None
    return found[1] if found else None


def start(items: Sequence[Any]) -> int:
    """Return where the first such item is, or the end."""
    return next((at for at, item in enumerate(items) if variable_of(item)), len(items))


def _item(variable: str, number: int) -> str:
    return "{{ " + f"{variable}[{number}]" + "\n}}"
