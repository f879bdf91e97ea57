"""Turn the errors of Ray's workers back into raypipe's own."""

from collections.abc import Iterator
from contextlib import contextmanager

from ray.exceptions import RayError

from raypipe.errors import RaypipeError

# Attributes of Ray's errors that contain the error they wrap.
_WRAPPED = ("cause", "controller_failure", "health_check_failure", "_base_exc", "__cause__", "__context__")


def original(error: BaseException) -> RaypipeError | None:
    """Return the raypipe error that Ray's error wraps, or None."""
    mine = (cause for cause in causes(error) if isinstance(cause, RaypipeError) and not isinstance(cause, RayError))
    return next(mine, None)


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and its causes, outermost first, through the wrappers of Ray Core, Data and Train."""
    seen: set[int] = set()
    waiting: list[BaseException] = [error]
    while waiting:
        current = waiting.pop(0)
        if id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        inside = [getattr(current, name, None) for name in _WRAPPED]
        inside.extend(getattr(current, "worker_failures", {}).values())
        waiting.extend(cause for cause in inside if isinstance(cause, BaseException))


@contextmanager
def plain_errors() -> Iterator[None]:
    """Raise a Ray worker's error as the worker raised it."""
    try:
        yield
    except Exception as error:
        cause = original(error)
        # An error of raypipe's own is left alone.
        if cause is None or cause is error:
            raise
        raise cause from error
