"""s3: a server that speaks S3, in this process: moto's.

What is in it outlives `stop`, so that it can be away for a while and come back.
"""

from __future__ import annotations

import http.client
import logging
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from moto.server import ThreadedMotoServer
from werkzeug.serving import make_server

from estafeta.world.objects import S3Objects

LOOPBACK = "127.0.0.1"
BUCKET = "letters"
KEY, SECRET = "AKIDEXAMPLE", "a secret"


class _TlsServer(ThreadedMotoServer):
    """Moto's, behind a certificate."""

    def __init__(self, port: int, tls: ssl.SSLContext) -> None:
        super().__init__(ip_address=LOOPBACK, port=port, verbose=False)
        self._tls = tls

    def _server_entry(self) -> None:
        app = DomainDispatcherApplication(create_backend_app)
        self._server = make_server(LOOPBACK, self._port, app, True, ssl_context=self._tls)
        self._server_ready_event.set()
        self._server.serve_forever()


class S3Server:
    """A server with one empty bucket. tls: whose certificate is for `localhost`."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self.port = 0
        self._server: ThreadedMotoServer | None = None
        self.start()
        self._ask("POST", "/moto-api/reset")
        self._ask("PUT", f"/{BUCKET}")

    def start(self) -> None:
        if self._tls is not None:
            self._server = _TlsServer(self.port, self._tls)
        else:
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
        if self._tls is not None:
            return f"https://localhost:{self.port}"
        return f"http://{LOOPBACK}:{self.port}"

    def _ask(self, method: str, path: str, body: bytes = b"") -> None:
        ask(self.port, method, path, body, tls=self._tls is not None)

    def check_credentials(self, yes: bool) -> None:
        """Where it does, it knows nobody."""
        self._ask("POST", "/moto-api/reset-auth", b"0" if yes else b"inf")

    def objects(self, bucket: str = BUCKET, *, prefix: str = "") -> S3Objects:
        return objects_at(self.endpoint, bucket, prefix=prefix)

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


def objects_at(endpoint: str, bucket: str = BUCKET, *, prefix: str = "") -> S3Objects:
    """Those of a server of moto's, whichever process it is in."""
    return S3Objects(
        bucket,
        endpoint=endpoint,
        region="us-east-1",
        access_key_id=KEY,
        secret_access_key=SECRET,
        prefix=prefix,
    )


def ask(port: int, method: str, path: str, body: bytes = b"", *, tls: bool = False) -> None:
    """One request that nobody signs. Raises OSError."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=30)
    if tls:
        anybody = ssl._create_unverified_context()
        connection = http.client.HTTPSConnection(LOOPBACK, port, timeout=30, context=anybody)
    try:
        connection.request(method, path, body)
        answer = connection.getresponse()
        said = answer.read()
        assert answer.status == 200, said
    finally:
        connection.close()


@contextmanager
def s3_server(tls: ssl.SSLContext | None = None) -> Iterator[S3Server]:
    server = S3Server(tls)
    try:
        yield server
    finally:
        if server.running:
            server.check_credentials(False)
        server.stop()
