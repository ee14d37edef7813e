"""JSON as the dataclasses that were written, refused where it does not fit their types."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from typing import Any, TypeVar

_T = TypeVar("_T")
# More than any count is.
_MOST = 2**53


def fitted(value: Any, kind: type[_T]) -> _T:
    """Return JSON's ``value`` as a dataclass, with all that is in it. Its own ``__post_init__`` may refuse more.

    Raises:
        KeyError, TypeError, ValueError: it does not fit.
    """
    return typing.cast(_T, _fitted(value, kind))


def _fitted(value: Any, kind: Any) -> Any:
    """Return JSON's ``value`` as a type, which may be one of several.

    Raises:
        KeyError, TypeError, ValueError: it does not fit.
    """
    origin = typing.get_origin(kind)
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        return typing.cast(type, kind)(**{name: _fitted(value[name], hint) for name, hint in hints.items()})
    if origin is types.UnionType:
        fitting = [one for one in typing.get_args(kind) if (one is types.NoneType) == (value is None)]
        return None if value is None else _fitted(value, fitting[0])
    if origin is tuple:
        if not isinstance(value, list):
            raise TypeError(value)
        return tuple(_fitted(item, typing.get_args(kind)[0]) for item in value)
    if origin is not None:
        return {_fitted(key, str): _fitted(item, typing.get_args(kind)[1]) for key, item in dict(value).items()}
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    if type(value) is not kind or (kind is int and abs(value) >= _MOST):
        raise TypeError(value)
    return value
