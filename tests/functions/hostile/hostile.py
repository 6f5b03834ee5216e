"""A function that tries to get out, and to get at others. What it may do to the machine if nobody stops it is
harmless: files are opened and not written, signals are number 0, times are set to what they are."""

import os

import attempt
import exhaust
import files
import kernel
import network
import processes
import victim

assert all([files, kernel, network, processes])

# Before any of our own is opened.
DESCRIPTORS = {int(name): None for name in os.listdir("/proc/self/fd")}
for number in DESCRIPTORS:
    try:
        DESCRIPTORS[number] = os.readlink(f"/proc/self/fd/{number}")
    except OSError:
        pass  # That of the listing itself.


def handler(event, context):
    action = event["do"]
    if action == "names":
        return sorted(attempt.ATTEMPTS)
    if action == "attempt":
        event["descriptors"] = {str(number): target for number, target in DESCRIPTORS.items() if target}
        event["pid"] = os.getpid()
        return {name: attempt.make(name, event) for name in event["names"]}
    if action == "settle":
        return victim.settle(event, context)
    if action == "look":
        return victim.look(event)
    return exhaust.ACTIONS[action](event, context)
