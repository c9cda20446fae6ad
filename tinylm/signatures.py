"""Functions with many keyword arguments, declared as the fields of a dataclass."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import ParamSpec, TypeVar

Parameters = ParamSpec("Parameters")
Options = TypeVar("Options")
Result = TypeVar("Result")


def takes_fields_of(
    options: Callable[Parameters, Options],
) -> Callable[[Callable[[Options], Result]], Callable[Parameters, Result]]:
    """Let a function of one options object be called with the object's fields.

    With `@takes_fields_of(Options)` over `def f(options: Options)`, `f(a=1, b=2)` calls it with `Options(a=1, b=2)`.
    Type checkers, `help` and notebooks see the fields as the function's parameters.

    Args:
        options: the class of the options, or another callable that makes them.
    """

    def decorate(function: Callable[[Options], Result]) -> Callable[Parameters, Result]:
        @functools.wraps(function)
        def call(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
            return function(options(*args, **kwargs))

        signature = inspect.signature(options)
        returned = inspect.signature(function).return_annotation
        vars(call)["__signature__"] = signature.replace(return_annotation=returned)
        return call

    return decorate
