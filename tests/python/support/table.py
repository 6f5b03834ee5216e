"""The table in `docs/operations.md` of what a whole run showed of each operation; a plugin of pytest.

Workers hand what they have seen to the controller, which compares it with the table at the end of a whole run.
`pytest --write-operations` writes the table anew.
"""

import os
from pathlib import Path

import pytest

from . import unprovoked
from .operations import PAGES, RESTART, SUCCESS, cli_commands, documented, is_paginated, model, seen

TABLE = Path(__file__).parents[3] / "docs/operations.md"


def table():
    """The document, and what it lacks to be complete."""
    rows, gaps, reasons = [], [], {}
    for operation in sorted(model()["operations"]):
        outcomes = seen.get(operation, set())
        told = {
            client: sorted(one.partition(":")[2] for one in outcomes if one.startswith(f"{client}:"))
            for client in ("boto3", "cli")
        }
        # What is not built yet is no error of AWS's.
        errors = {
            client: [one for one in told[client] if one[0].isupper() and one != "NotImplementedException"]
            for client in told
        }
        absent = []
        for code in documented(operation):
            reason = unprovoked.reason(operation, code)
            if code in errors["boto3"]:
                if reason and not unprovoked.is_general(code):
                    gaps.append(f"{operation} does answer {code}: drop the reason why it cannot")
            elif reason:
                reasons.setdefault(reason, set()).add(code)
                absent.append(code)
            else:
                gaps.append(f"{operation} never answered {code}, and nothing says why")
        for client in told:
            if SUCCESS in told[client] or operation in unprovoked.IDLE:
                continue
            if client == "boto3" or operation in cli_commands():
                gaps.append(f"{operation} never succeeded through {client}")
        if is_paginated(operation) and PAGES not in told["boto3"] and operation not in unprovoked.WITHOUT_PAGES:
            gaps.append(f"{operation}: no page was followed by its marker")
        rows.append(row(operation, told, errors, absent))
    return HEAD + "\n".join(rows) + REASONS + reasons_told(reasons) + COMMAND + missing_commands(), gaps


def row(operation, told, errors, absent):
    def mark(client):
        if SUCCESS in told[client]:
            return "yes"
        return "—" if client == "cli" and operation not in cli_commands() else "no"

    cells = [
        operation,
        mark("boto3"),
        mark("cli"),
        short(errors["boto3"]),
        short(errors["cli"]),
        short(absent),
        ("yes" if PAGES in told["boto3"] else "no") if is_paginated(operation) else "",
        "yes" if RESTART in told["boto3"] else "",
    ]
    return "| " + " | ".join(cells) + " |"


def short(codes):
    return ", ".join(sorted({code.removesuffix("Exception") for code in codes}))


def reasons_told(reasons):
    lines = [f"* {short(codes)}: {reason}" for reason, codes in reasons.items()]
    return "\n".join(sorted(lines)) + "\n"


def missing_commands():
    missing = sorted(set(model()["operations"]) - cli_commands())
    return ", ".join(missing) + ".\n"


HEAD = """# The operations of Lambda, and what each is tested for

Written by the tests in `tests/python`: a whole run notes each call and its outcome. It fails if it shows less than this
table says, and if anything documented was neither shown nor has a reason below; `pytest tests/python --write-operations` writes it anew. The tests in `crates/control` ask for more, and more exactly.

* *boto3*, *aws*: succeeded through the SDK for Python, and through the command.
* *errors*: codes that were provoked through each, without their `Exception`.
* *not provoked*: documented errors for which there is a reason below.
* *pages*: a list was read page by page.
* *restart*: what it answered, or what it did, was so after a restart on the same data.

| operation | boto3 | aws | errors (boto3) | errors (aws) | not provoked | pages | restart |
|---|---|---|---|---|---|---|---|
"""

REASONS = """

## Why some errors are not provoked

"""

COMMAND = """
## Operations that the `aws` command does not have

Its version 1 brings a model of its own, which lacks the newest operations, and has no command for streams:
"""


# The plugin.


def pytest_addoption(parser):
    parser.addoption(
        "--write-operations", action="store_true", help=f"write {TABLE.name} from what this run showed"
    )


def pytest_testnodedown(node, error):
    for operation, outcomes in getattr(node, "workeroutput", {}).get("operations", {}).items():
        seen[operation].update(outcomes)


def is_whole(config):
    """Whether all tests of the suite were asked for."""
    here = Path(__file__).parents[1]
    arguments = {Path(os.path.abspath(argument)) for argument in config.args}
    narrowed = config.option.keyword or config.option.markexpr or getattr(config.option, "lf", False)
    return arguments == {here} and not narrowed


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session, exitstatus):
    config = session.config
    if hasattr(config, "workeroutput"):
        config.workeroutput["operations"] = {name: sorted(outcomes) for name, outcomes in seen.items()}
        return
    document, gaps = table()
    if config.option.write_operations:
        TABLE.parent.mkdir(exist_ok=True)
        TABLE.write_text(document)
        config.stash[COMPLAINTS] = gaps
        return
    if not is_whole(config) or exitstatus != 0:
        return
    missing = lost(TABLE.read_text() if TABLE.exists() else "", document)
    config.stash[COMPLAINTS] = missing + gaps
    if missing or gaps:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def lost(committed, shown):
    """What the committed table says and the run did not show. A run may show more: not every outcome comes every time."""

    def cells(text):
        rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
        return {row[0]: [set(cell.strip().split(", ")) - {""} for cell in row[1:]] for row in rows[1:]}

    now = cells(shown)
    found = []
    for operation, row in cells(committed).items():
        # What is not provoked is no claim.
        for index in (0, 1, 2, 3, 5, 6):
            # Empty cells at the end are cut off.
            claimed = row[index] if index < len(row) else set()
            seen = now.get(operation, [])
            missing = claimed - (seen[index] if index < len(seen) else set()) - {"—", "no"}
            if missing:
                found.append(f"{operation}: the table says {', '.join(sorted(missing))}, which no test showed")
    return found


def pytest_terminal_summary(terminalreporter, config):
    complaints = config.stash.get(COMPLAINTS, [])
    if complaints:
        terminalreporter.section("operations")
        for complaint in complaints:
            terminalreporter.write_line(complaint)


COMPLAINTS = pytest.StashKey()
