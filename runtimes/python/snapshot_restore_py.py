"""Registers SnapStart hooks, as AWS's module of this name; functions import it whether they use SnapStart or not."""

_before_snapshot = []
_after_restore = []


def register_before_snapshot(func, *args, **kwargs):
    """Has `func` called before the snapshot; usable as a decorator. Hooks run in reverse order."""
    _before_snapshot.append((func, args, kwargs))
    return func


def register_after_restore(func, *args, **kwargs):
    """Has `func` called after a restore; usable as a decorator. Hooks run in order."""
    _after_restore.append((func, args, kwargs))
    return func


def get_before_snapshot():
    """The hooks registered so far, as (function, arguments, keyword arguments)."""
    return _before_snapshot


def get_after_restore():
    """The hooks registered so far, as (function, arguments, keyword arguments)."""
    return _after_restore
