"""Lets a debugger attach: `debugpy` listens before the function's code is loaded.

Must not fail: a function without `debugpy`, or with one that does not work, runs without a debugger.
"""

import sys


def listen(where):
    """Has `debugpy` listen at `HOST:PORT`; the directory in `HOST:PORT@DIRECTORY` holds one for functions without."""
    address, _, directory = where.partition("@")
    debugpy = find(directory)
    if debugpy is None:
        return
    host, _, port = address.rpartition(":")
    try:
        endpoint = debugpy.listen((host, int(port)))
    except Exception as error:
        print(f"debugpy does not listen at {address}: {error}", file=sys.stderr)
        return

    # Functions made for other emulators call this themselves, and a second call is an error.
    def already_listening(address, **_):
        return endpoint

    debugpy.listen = already_listening


def find(directory):
    """The module, from where the function finds it, or else from the directory; None if neither has it."""
    try:
        import debugpy
    except ImportError:
        if not directory:
            return None
        sys.path.append(directory)
        try:
            import debugpy
        except ImportError:
            return None
        finally:
            sys.path.remove(directory)
    return debugpy
