"""The `aws` command, as a newcomer would type it."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from . import operations
from .service import REGION, clean_environment

AWS = Path(sys.executable).parent / "aws"

# How the command tells an error of the service.
ERROR = re.compile(r"An error occurred \((\w+)\) when calling the (\w+) operation")


class Aws:
    """Runs `aws SERVICE ...` against a service and returns what it printed, parsed."""

    def __init__(self, service, home):
        self.service = service
        self.home = home
        self.environment = clean_environment(
            AWS_ENDPOINT_URL=service.endpoint,
            AWS_ACCESS_KEY_ID="test",
            AWS_SECRET_ACCESS_KEY="test",
            AWS_REGION=REGION,
            AWS_DEFAULT_REGION=REGION,
            AWS_PAGER="",
            HOME=str(home),
            PATH=f"{AWS.parent}{os.pathsep}{os.environ['PATH']}",
        )

    def __call__(self, *arguments, fails=False, service="lambda"):
        """With `fails`, the command must fail, and what it said is returned."""
        command = [str(AWS), service, *map(str, arguments), "--output", "json"]
        done = subprocess.run(
            command, env=self.environment, cwd=self.home, capture_output=True, text=True, timeout=100
        )
        self._note(service, arguments[0], done)
        if fails:
            assert done.returncode != 0, done.stdout
            return done.stderr
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout) if done.stdout.strip() else {}

    def _note(self, service, command, done):
        if service != "lambda":
            return
        error = ERROR.search(done.stderr)
        if error:
            operations.note("cli", error[2], error[1])
        elif done.returncode == 0 and command != "wait":
            operations.note("cli", operations.named(command), operations.SUCCESS)

    def arguments(self, operation, parameters):
        """The arguments that say the same as parameters of boto3 do."""
        from botocore import xform_name

        said = [xform_name(operation, "-")]
        for name, value in parameters.items():
            flag = "--" + xform_name(name, "-")
            if isinstance(value, bytes):
                (self.home / "blob").write_bytes(value)
                # The one blob of the type for streams is a file without saying so.
                said += [flag, "blob" if name == "InvokeArgs" else "fileb://blob"]
            elif isinstance(value, bool):
                said += [flag if value else flag.replace("--", "--no-", 1)]
            elif isinstance(value, list) and all(isinstance(item, str) for item in value):
                said += [flag, *value]
            elif isinstance(value, (list, dict)):
                # Archives have flags of their own.
                archive = value.pop("ZipFile", None) if isinstance(value, dict) else None
                if archive is not None:
                    (self.home / "archive.zip").write_bytes(archive)
                    said += ["--zip-file", "fileb://archive.zip"]
                if value or archive is None:
                    said += [flag, json.dumps(value)]
            else:
                said += [flag, str(value)]
        if operations.has_payload(operation):
            said.append("out")
        return said
