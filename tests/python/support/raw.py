"""HTTP by hand, for what the SDKs would not send."""

import http.client
import json

SCOPE = "AWS4-HMAC-SHA256 Credential={key}/20260101/{region}/{service}/aws4_request, SignedHeaders=host, Signature=0"


class Answer:
    """Status, headers (lower case) and body."""

    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"{self.status} {self.headers} {self.body[:200]!r}"


def authorization(service="lambda", region="us-east-1", key="test"):
    """A header that only names the scope; the service does not check signatures."""
    return SCOPE.format(key=key, region=region, service=service)


def request(port, method, path, body=None, headers=None, service="lambda", host="127.0.0.1"):
    """One request on a connection of its own. A header of value None is left out."""
    sent = {"Authorization": authorization(service) if service else None, **(headers or {})}
    connection = http.client.HTTPConnection(host, port, timeout=30)
    try:
        connection.putrequest(method, path, skip_host="Host" in sent, skip_accept_encoding=True)
        for name, value in sent.items():
            if value is not None:
                connection.putheader(name, value)
        if body is not None and "Content-Length" not in sent and "Transfer-Encoding" not in sent:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        response = connection.getresponse()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, headers, response.read())
    finally:
        connection.close()
