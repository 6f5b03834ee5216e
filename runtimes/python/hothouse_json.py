"""JSON between the Runtime API and handlers, with the results of AWS's client.

AWS's client encodes with `simplejson`; here the interpreter's own C code does the work, and the rare values for which
both differ take a second, slower pass. Must not import `json`: that alone costs a third of a cold start.
"""

import sys

from _json import encode_basestring, encode_basestring_ascii, make_encoder, make_scanner

WHITESPACE = " \t\n\r"

# Types of which a container needs no second look.
PLAIN = frozenset({str, int, float, bool, type(None)})


class DecoderSettings:
    """What the C scanner asks its context for: the defaults of `json.loads`."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = float
    array_hook = None
    memo = {}


scan = make_scanner(DecoderSettings)


def decode(document):
    """Decodes bytes or text; raises ValueError with the message of `json.loads`."""
    text = document if isinstance(document, str) else str(document, "utf-8")
    try:
        value, end = scan(text, 0)
        if end == len(text):
            return value
    except (StopIteration, SystemError):
        # SystemError: some versions fail to raise the library's error while the library is not imported.
        pass
    # White space around the value, or an error that the library words.
    import json

    return json.loads(text[1:] if text.startswith("\ufeff") else text)


class NeedsSlowPass(Exception):
    """A value has no direct form in the C encoder."""


class RawNumber(str):
    """Text that goes into the document as it is."""


class Encoder:
    """Encodes as `json.dumps` does, plus the extras of simplejson: Decimal, bytes, named tuples as objects."""

    def __init__(self, ensure_ascii):
        self.markers = {}
        self.encode_text = encode_basestring_ascii if ensure_ascii else encode_basestring
        self.fast = self.make(self.markers, reject, self.encode_text)

    @staticmethod
    def make(markers, default, encode_text):
        # Arguments are positional only: markers, default, encoder, indent, separators, sort_keys, skipkeys, allow_nan.
        return make_encoder(markers, default, encode_text, None, ": ", ", ", False, False, True)

    def encode(self, value):
        """The document as text; raises TypeError or ValueError if there is none."""
        try:
            document = "".join(self.fast(value, 0))
        except NeedsSlowPass:
            self.markers.clear()
            return self.encode_slowly(value)
        except BaseException as error:
            self.markers.clear()
            if type(error) is TypeError and has_bytes_keys(value):
                return self.encode_slowly(value)
            raise
        if type(value) in PLAIN or not has_named_tuple(value):
            return document
        return self.encode_slowly(value)

    def encode_slowly(self, value):
        encode_text = self.encode_text

        def encode_special(text):
            return str.__str__(text) if type(text) is RawNumber else encode_text(text)

        return "".join(self.make({}, default, encode_special)(simplify(value, set()), 0))


def reject(value):
    """The fast encoder's hook for values of unknown type."""
    if isinstance(value, bytes) or is_decimal(value) or has_fields(value):
        raise NeedsSlowPass
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


def default(value):
    """The slow encoder's hook: what simplejson makes of values of unknown type."""
    if isinstance(value, bytes):
        return str(value, "utf-8")
    if is_decimal(value):
        return float("nan") if value.is_nan() else RawNumber(value)
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


def is_decimal(value):
    decimal = sys.modules.get("decimal")
    return decimal is not None and isinstance(value, decimal.Decimal)


def has_fields(value):
    """Whether simplejson takes the value for a named tuple."""
    return callable(getattr(value, "_asdict", None))


def children(value):
    return value.values() if isinstance(value, dict) else value


def has_named_tuple(value):
    """Whether a named tuple is anywhere in an acyclic value."""
    waiting = [value]
    for container in waiting:
        if isinstance(container, tuple) and type(container) is not tuple and has_fields(container):
            return True
        if not isinstance(container, (dict, list, tuple)):
            continue
        items = children(container)
        if not PLAIN.issuperset(map(type, items)):
            waiting.extend([item for item in items if type(item) not in PLAIN])
    return False


def has_bytes_keys(value):
    """Whether a dictionary with bytes as keys is anywhere in the value; stops at cycles."""
    waiting, seen = [value], set()
    for container in waiting:
        if not isinstance(container, (dict, list, tuple)) or id(container) in seen:
            continue
        seen.add(id(container))
        if isinstance(container, dict) and any(isinstance(key, bytes) for key in container):
            return True
        waiting.extend(children(container))
    return False


def simplify(value, path):
    """A copy in which named tuples are dictionaries and keys are not bytes."""
    has_names = not isinstance(value, (dict, list)) and has_fields(value)
    if not has_names and not isinstance(value, (dict, list, tuple)):
        return value
    if id(value) in path:
        raise ValueError("Circular reference detected")
    path.add(id(value))
    if has_names:
        result = {key: simplify(item, path) for key, item in value._asdict().items()}
    elif isinstance(value, dict):
        result = {
            str(key, "utf-8") if isinstance(key, bytes) else key: simplify(item, path) for key, item in value.items()
        }
    else:
        result = [simplify(item, path) for item in value]
    path.discard(id(value))
    return result
