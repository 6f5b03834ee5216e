"""Function URLs, and a function that answers as it is told."""

import http.client
import json
import re

from .functions import PYTHON

FORBIDDEN = {
    "Message": "Forbidden. For troubleshooting Function URL authorization issues, see: "
    "https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html"
}

# Answers as the request's body says; without one, with the event that it got.
SPEAKER = """
import base64, json, time

def handler(event, context):
    body = event.get("body")
    if body is None:
        return event
    if event["isBase64Encoded"]:
        body = base64.b64decode(body).decode("latin-1")
    wanted = json.loads(body)
    if "raise" in wanted:
        raise ValueError(wanted["raise"])
    time.sleep(wanted.get("sleep", 0))
    return wanted["return"]
"""


class Answer:
    """Status, headers with all their values, body."""

    def __init__(self, response):
        self.status = response.status
        self.pairs = [(name.lower(), value) for name, value in response.getheaders()]
        self.headers = dict(self.pairs)
        self.body = response.read()

    def all(self, name):
        return [value for key, value in self.pairs if key == name]

    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"{self.status} {self.pairs} {self.body[:300]!r}"


class Url:
    """A function URL, spoken to without looking its host up: names below `localhost` do not resolve everywhere."""

    def __init__(self, service, config):
        self.port = service.port
        self.text = config["FunctionUrl"]
        self.host = re.fullmatch(r"http://(.+)/", self.text)[1]
        self.id = self.host.split(".")[0]

    def send(self, method="GET", path="/", body=None, headers=(), host=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            connection.putheader("Host", host or self.host)
            for name, value in headers.items() if isinstance(headers, dict) else headers:
                connection.putheader(name, value)
            if body is not None:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def ask(self, **wanted):
        """Has the speaker do something."""
        return self.send("POST", body=json.dumps(wanted).encode(), headers={"Content-Type": "application/json"})


def allow(client, name, **parameters):
    """Lets everybody call a function's URL."""
    client.add_permission(
        FunctionName=name,
        StatementId="url",
        Action="lambda:InvokeFunctionUrl",
        Principal="*",
        FunctionUrlAuthType="NONE",
        **parameters,
    )


def make_url(service, client, name, auth="NONE", public=True, **parameters):
    config = client.create_function_url_config(FunctionName=name, AuthType=auth, **parameters)
    if public and auth == "NONE":
        allow(client, name, **{key: value for key, value in parameters.items() if key == "Qualifier"})
    return Url(service, config)


def speaker(functions, **parameters):
    code = {"index.py": SPEAKER}
    return functions.create(code, Runtime=PYTHON, Handler="index.handler", **parameters)


def unknown(answer):
    """Whether nobody has the URL that was called."""
    return (answer.status, answer.json()) == (403, {"Message": None})
