"""s3: a server that speaks S3, in this process: moto's.

What is in it outlives `stop`, so that it can be away for a while and come back.
"""

from __future__ import annotations

import http.client
import logging
from collections.abc import Iterator
from contextlib import contextmanager

from moto.server import ThreadedMotoServer

from estafeta.world.objects import S3Objects

LOOPBACK = "127.0.0.1"
BUCKET = "letters"
KEY, SECRET = "AKIDEXAMPLE", "a secret"


class S3Server:
    """A server with one empty bucket."""

    def __init__(self) -> None:
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self.port = 0
        self._server: ThreadedMotoServer | None = None
        self.start()
        ask(self.port, "POST", "/moto-api/reset")
        ask(self.port, "PUT", f"/{BUCKET}")

    def start(self) -> None:
        self._server = ThreadedMotoServer(ip_address=LOOPBACK, port=self.port, verbose=False)
        self._server.start()
        self.port = self._server.get_host_and_port()[1]

    def stop(self) -> None:
        if self._server is not None:
            self._server.stop()
            self._server = None

    @property
    def running(self) -> bool:
        return self._server is not None

    @property
    def endpoint(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    def check_credentials(self, yes: bool) -> None:
        """Where it does, it knows nobody."""
        ask(self.port, "POST", "/moto-api/reset-auth", b"0" if yes else b"inf")

    def objects(self, bucket: str = BUCKET, *, prefix: str = "") -> S3Objects:
        return S3Objects(
            bucket,
            endpoint=self.endpoint,
            region="us-east-1",
            access_key_id=KEY,
            secret_access_key=SECRET,
            prefix=prefix,
        )

    def settings(self) -> dict[str, list[str]]:
        """Lines of estafeta.toml, by table."""
        return {
            "bodies": ['large = "s3"'],
            "smtp": ['plaintext_auth_networks = ["127.0.0.0/8"]'],
            "s3": [
                f'bucket = "{BUCKET}"',
                f'endpoint = "{self.endpoint}"',
                'region = "us-east-1"',
                f'access_key_id = "{KEY}"',
                f'secret_access_key = "{SECRET}"',
            ],
        }


def ask(port: int, method: str, path: str, body: bytes = b"") -> None:
    """One request that nobody signs. Raises OSError."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=30)
    try:
        connection.request(method, path, body)
        answer = connection.getresponse()
        said = answer.read()
        assert answer.status == 200, said
    finally:
        connection.close()


@contextmanager
def s3_server() -> Iterator[S3Server]:
    server = S3Server()
    try:
        yield server
    finally:
        if server.running:
            server.check_credentials(False)
        server.stop()
