"""Where a function with SnapStart stands still: its hooks before the snapshot and after a restore, as AWS's client runs them.

Must not know how a process comes to be restored: `restore/next` returns in each environment once.
"""

import sys

BEFORE_SNAPSHOT_FAILED = 64
AFTER_RESTORE_FAILED = 65


def pass_snapshot(api, encoder):
    """Returns when the process may ask for events, in an environment that comes from the snapshot."""
    # Whoever registered hooks has imported it.
    hooks = sys.modules.get("snapshot_restore_py")
    before = hooks.get_before_snapshot() if hooks else []
    try:
        while before:
            call, args, kwargs = before.pop()
            call(*args, **kwargs)
    except BaseException as error:
        import hothouse_faults

        body = hothouse_faults.report_hook_error(encoder, error)
        api.post_error(b"init/error", body, "Runtime.BeforeSnapshotError")
        sys.exit(BEFORE_SNAPSHOT_FAILED)
    api.restore_next()
    try:
        for call, args, kwargs in hooks.get_after_restore() if hooks else []:
            call(*args, **kwargs)
    except BaseException as error:
        import hothouse_faults

        body = hothouse_faults.report_hook_error(encoder, error)
        api.post_error(b"restore/error", body, "Runtime.AfterRestoreError")
        sys.exit(AFTER_RESTORE_FAILED)
