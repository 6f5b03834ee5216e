"""The runtime interface client: loads the handler and serves events until the process ends.

Behaves like AWS's client (`awslambdaric`) and costs less: it imports nothing that a function might not need.
Must not print: what a function's log holds is AWS's contract.
"""

import posix
import sys

from hothouse_context import LambdaContext
from hothouse_json import Encoder, decode
from hothouse_process import LOG, Current, flush_streams, get_variable, set_variable, take_variable
from hothouse_runtime_api import ConnectionClosed, RuntimeApi

# The encoder wrote ASCII only up to this runtime; AWS kept that for the older ones.
LAST_ASCII_RUNTIMES = ("8", "9", "10", "11")


class Fault(Exception):
    """A failure with a type and message of the platform, not of the function."""

    def __init__(self, error_type, message, trace=None):
        super().__init__(message)
        self.error_type = error_type
        self.message = message
        self.trace = trace


def main():
    """Runs the client until the process ends."""
    if sys.argv[-1] in ("--await-assignment", "--zygote"):
        import hothouse_assignment

        is_zygote = sys.argv[-1] == "--zygote"
        hothouse_assignment.hide_option()
        hothouse_assignment.import_ahead()
        if is_zygote:
            import hothouse_zygote

            hothouse_zygote.fork_into_sandboxes()
        hothouse_assignment.receive()
    LOG.open()
    api = RuntimeApi()
    prepare_interpreter()
    debugger = take_variable("_HOTHOUSE_DEBUGGER")
    if debugger is not None:
        import hothouse_debugger

        hothouse_debugger.listen(debugger)
    encoder = Encoder(uses_ascii())
    try:
        handler = load_handler(get_variable("_HANDLER") or "")
    except Exception as error:
        import hothouse_faults

        hothouse_faults.report_init_error(api, encoder, error)
        sys.exit(1)
    try:
        if get_variable("AWS_LAMBDA_INITIALIZATION_TYPE") == "snap-start":
            import hothouse_snapshot

            hothouse_snapshot.pass_snapshot(api, encoder)
        serve(api, encoder, handler)
    except ConnectionClosed:
        # The platform is gone and nobody reads the log: no trace.
        sys.exit(1)


def uses_ascii():
    family, _, minor = (get_variable("AWS_EXECUTION_ENV") or "").rpartition(".")
    return family != "AWS_Lambda_python3" or minor in LAST_ASCII_RUNTIMES


# === Loading ===


def prepare_interpreter():
    """Gives the interpreter, started with `-S`, the surroundings that AWS's has, without the host's packages."""
    import builtins

    import _sitebuiltins

    for name in ("exit", "quit"):
        setattr(builtins, name, _sitebuiltins.Quitter(name, "Ctrl-D (i.e. EOF)"))
    builtins.help = _sitebuiltins._Helper()

    LoggingWatch.standard_path = [path for path in sys.path if path.startswith(sys.base_prefix)]
    sys.meta_path.insert(0, LoggingWatch)
    set_search_path(__file__.rpartition("/")[0])


def set_search_path(runtime_directory):
    """Orders `sys.path` as AWS does: task root, layers, runtime, standard library."""
    task_root = get_variable("LAMBDA_TASK_ROOT") or "/var/task"
    # Where layers are without isolation; the function must not see the variable.
    layers = take_variable("_HOTHOUSE_OPT") or "/opt"
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    directories = [task_root]
    chosen = get_variable("PYTHONPATH")
    # A path of the function's own choice replaces the layers'; the platform's begins with the runtime's directory.
    is_own = chosen is not None and chosen.split(":")[0] not in (runtime_directory, get_variable("LAMBDA_RUNTIME_DIR"))
    if not is_own:
        directories += [f"{layers}/python/lib/python{version}/site-packages", f"{layers}/python"]
        if chosen is None:
            # Interpreters that the function starts find the same modules.
            set_variable("PYTHONPATH", runtime_directory)
    sys.path[:] = dict.fromkeys(directories + sys.path)
    add_path_files(directories)
    if is_own:
        # Tools that start functions through a wrapper hook themselves in like this.
        try:
            import sitecustomize  # noqa: F401
        except ImportError as error:
            if error.name != "sitecustomize":
                raise


def add_path_files(directories):
    """Follows `.pth` files, as `site` does for directories of packages."""
    assignment = sys.modules.get("hothouse_assignment")
    for directory in directories:
        try:
            names = posix.listdir(directory)
        except OSError:
            continue
        if assignment is not None:
            assignment.give_way(names)
        if any(name.endswith(".pth") for name in names):
            import site

            site.addsitedir(directory)


class LoggingWatch:
    """A finder that sets the root logger up when, and only when, `logging` is imported."""

    standard_path = None

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        """Finds `logging` once, in the standard library, as AWS's client has imported it before the function."""
        if name != "logging":
            return None
        sys.meta_path.remove(cls)
        spec = sys.modules["_frozen_importlib_external"].PathFinder.find_spec(name, cls.standard_path)
        spec.loader = SetUpLoader(spec.loader)
        return spec


class SetUpLoader:
    """Loads `logging` by its own loader, which it leaves in place, and sets it up."""

    def __init__(self, loader):
        self.loader = loader

    def create_module(self, spec):
        """No special module object."""
        return self.loader.create_module(spec)

    def exec_module(self, module):
        """Runs the module's code."""
        module.__spec__.loader = module.__loader__ = self.loader
        self.loader.exec_module(module)
        import hothouse_logging

        hothouse_logging.set_up()


def load_handler(name):
    """Finds the handler `module.function`; a Fault says why there is none."""
    try:
        module_name, function_name = name.rsplit(".", 1)
    except ValueError as error:
        raise Fault("Runtime.MalformedHandlerName", f"Bad handler '{name}': {error}") from None
    if module_name.split(".")[0] in sys.builtin_module_names:
        raise Fault(
            "Runtime.BuiltInModuleConflict", f"Cannot use built-in module {module_name} as a handler module"
        )
    try:
        # What `importlib.import_module` does, without importing importlib.
        module = sys.modules["_frozen_importlib"]._gcd_import(module_name.replace("/", "."))
    except ImportError as error:
        raise Fault("Runtime.ImportModuleError", f"Unable to import module '{module_name}': {error}") from error
    except SyntaxError as error:
        raise Fault(
            "Runtime.UserCodeSyntaxError",
            f"Syntax error in module '{module_name}': {error}",
            [f'  File "{error.filename}" Line {error.lineno}\n    {error.text}'],
        ) from None
    try:
        return getattr(module, function_name)
    except AttributeError:
        raise Fault(
            "Runtime.HandlerNotFound", f"Handler '{function_name}' missing on module '{module_name}'"
        ) from None


# === Serving ===


def serve(api, encoder, handler):
    """Answers events one after the other."""
    api.ask_next()
    while True:
        headers, body = api.next()
        get = headers.get
        request_id = get("lambda-runtime-aws-request-id", "")
        Current.request_id = request_id
        Current.tenant_id = get("lambda-runtime-aws-tenant-id")
        trace_id = get("lambda-runtime-trace-id")
        if trace_id is None:
            take_variable("_X_AMZN_TRACE_ID")
        else:
            set_variable("_X_AMZN_TRACE_ID", trace_id)
        attempt = get("lambda-runtime-invocation-id")
        answer_headers = b"" if attempt is None else b"Lambda-Runtime-Invocation-Id: %s\r\n" % attempt.encode()
        try:
            response = invoke(handler, headers, body)
            if isinstance(response, bytes):
                answer_headers += b"Content-Type: application/unknown\r\n"
            else:
                response = marshal(encoder, response)
                answer_headers += b"Content-Type: application/json\r\n"
            outcome = b"response"
        except Exception as error:
            import hothouse_faults

            outcome = b"error"
            response, error_headers = hothouse_faults.report_invocation_error(encoder, error, request_id)
            answer_headers += error_headers
        flush_streams()
        if isinstance(response, str):
            response = response.encode()
        api.answer(request_id.encode(), outcome, response, answer_headers)


def invoke(handler, headers, body):
    get = headers.get
    context = LambdaContext(
        get("lambda-runtime-aws-request-id"),
        parse_header(get("lambda-runtime-client-context"), "Client Context"),
        parse_header(get("lambda-runtime-cognito-identity"), "Cognito Identity"),
        int(get("lambda-runtime-deadline-ms", 0)),
        get("lambda-runtime-invoked-function-arn"),
        get("lambda-runtime-aws-tenant-id"),
    )
    if get("content-type") == "application/json":
        try:
            body = decode(body)
        except Exception as error:
            raise Fault("Runtime.UnmarshalError", f"Unable to unmarshal input: {error}") from None
    return handler(body, context)


def parse_header(value, name):
    if not value:
        return None
    try:
        return decode(value)
    except Exception as error:
        raise Fault("Runtime.LambdaContextUnmarshalError", f"Unable to parse {name} JSON: {error}") from None


def marshal(encoder, response):
    try:
        return encoder.encode(response)
    except Exception as error:
        raise Fault("Runtime.MarshalError", f"Unable to marshal response: {error}") from None
