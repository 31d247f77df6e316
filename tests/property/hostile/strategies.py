"""Generated texts and JSON as somebody makes them who wants to stop the operator.

The profile `faults` (`make faults`) tries 10,000 of each kind, others a hundred.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from hypothesis import strategies as st

_SIGNS = "-re@:/.#$\\\n\r\x0b\x1b\x9b\u202e\u2028\ud800\ufeff\x00 =<>;[]'\"~{}(,*!&|%é"
_DEEP = st.builds(
    lambda text, times: text * times,
    st.sampled_from(
        ["(", "[", '{"a":', "a.", "1", "0.", " ", "\\\n", "a,", "not ", "{{ a }}", ">=1,"]
    ),
    st.sampled_from([3, 20, 300, 5000]),
)

texts: st.SearchStrategy[str] = st.one_of(
    st.text(st.one_of(st.characters(codec=None), st.sampled_from(_SIGNS)), max_size=30),
    st.sampled_from(["", "a", "1.0", "linux/amd64", "3.12", "a>=1; extra == 'b'", "9" * 5000]),
    _DEEP,
    st.tuples(st.sampled_from(["a; ", "a[", "a==", "# ", "a @ ", "é"]), _DEEP).map("".join),
)
"""Control characters, lone surrogates, signs with a meaning, and much of the same."""

_scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([10**40, -(10**40), 0.5, 1e300]),
    texts,
)


def json_values(names: Iterable[str] = ("a", "name")) -> st.SearchStrategy[Any]:
    """JSON of any shape; mappings have the keys ``names``, and others."""
    keys = st.sampled_from(sorted(names)) | texts
    return st.recursive(
        _scalars,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
        max_leaves=6,
    )


@st.composite
def mutated(draw: st.DrawFn, good: Any, others: st.SearchStrategy[Any]) -> Any:
    """A good JSON value of which one part, at any depth, is another value, or is gone."""
    if isinstance(good, Mapping) and good and draw(st.integers(0, 3)):
        changed = dict(good)
        name = draw(st.sampled_from(sorted(good)))
        if draw(st.integers(0, 9)):
            changed[name] = draw(mutated(good[name], others))
        else:
            del changed[name]
        return changed
    if isinstance(good, list) and good and draw(st.integers(0, 3)):
        at = draw(st.integers(0, len(good) - 1))
        return [*good[:at], draw(mutated(good[at], others)), *good[at + 1 :]]
    return draw(others)


@st.composite
def spoilt(draw: st.DrawFn, good: str) -> str:
    """A good text with another text in the place of a part of it."""
    start = draw(st.integers(0, len(good)))
    end = draw(st.integers(start, min(len(good), start + 20)))
    return good[:start] + draw(texts) + good[end:]


def written(value: Any) -> str:
    """JSON as an attacker writes it."""
    return json.dumps(value)
