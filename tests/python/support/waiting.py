"""Waiting for a condition, with a deadline; nowhere do tests sleep for a time and hope."""

import time

# Between two looks at a condition that nothing announces.
INTERVAL = 0.02


def until(condition, seconds=20.0, what="the condition"):
    """Returns the first true value of `condition`, or fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come true within {seconds} s")
        time.sleep(INTERVAL)
