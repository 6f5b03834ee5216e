"""Lets a debugger attach: `debugpy` listens before the function's code is loaded.

Must not fail: a function without `debugpy`, or with one that does not work, runs without a debugger.
"""

import sys


def listen(address):
    """Has `debugpy` listen at `HOST:PORT`, if the function or a layer brings it."""
    try:
        import debugpy
    except ImportError:
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
