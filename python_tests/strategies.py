"""Values that go to Elixir and come back the same."""

import datetime
import decimal
from typing import Any

from hypothesis import strategies as st

import erlang

# UTF-8 carries every character but the surrogates.
_characters = st.characters(exclude_categories=["Cs"])
text = st.text(_characters, max_size=40)
atoms = st.text(_characters, min_size=1, max_size=20).map(erlang.Atom)

_INT64_US = datetime.timedelta(microseconds=2**63 - 1)

_scalars = (
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    text,
    st.binary(max_size=40),
    atoms,
    st.dates(),
    st.times(),
    st.datetimes(),
    st.datetimes(timezones=st.just(datetime.timezone.utc)),
    st.timedeltas(-_INT64_US, _INT64_US),
)

scalars = st.one_of(*_scalars, st.decimals(allow_nan=False), st.just(decimal.Decimal("NaN")))

keys = st.one_of(st.none(), st.booleans(), st.integers(), text, st.binary(max_size=20), atoms)

hashable = st.recursive(keys, lambda inner: st.lists(inner, max_size=4).map(tuple), max_leaves=10)


def _rows(inner: "st.SearchStrategy[Any]") -> "st.SearchStrategy[Any]":
    """Dicts that are alike: from eight on they have a form of their own."""
    return st.lists(atoms, min_size=1, max_size=3, unique=True).flatmap(
        lambda keys: st.lists(
            st.lists(inner, min_size=len(keys), max_size=len(keys)), min_size=6, max_size=9
        ).map(lambda rows: [dict(zip(keys, row)) for row in rows])
    )


def _nested(leaves: "st.SearchStrategy[Any]") -> "st.SearchStrategy[Any]":
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.lists(inner, max_size=6),
            st.lists(inner, max_size=6).map(tuple),
            _rows(inner),
            st.dictionaries(hashable, inner, max_size=6),
            st.sets(hashable, max_size=6),
        ),
        max_leaves=30,
    )


values = _nested(scalars)

# Elixir has no decimals of its own, only those of a library.
values_for_elixir = _nested(st.one_of(*_scalars))
