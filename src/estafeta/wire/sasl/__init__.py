"""SASL: PLAIN, LOGIN and SCRAM-SHA-256, server and client, sans-IO (RFC 4422)."""

from estafeta.wire.sasl.client import ClientMechanism, SaslError, client_mechanism
from estafeta.wire.sasl.prep import prepared_password, saslprep
from estafeta.wire.sasl.scram import ITERATIONS, ScramKeys, scram_keys
from estafeta.wire.sasl.server import (
    MECHANISMS,
    REFUSED,
    Challenge,
    CheckPassword,
    Failure,
    LookUpKeys,
    ServerMechanism,
    Step,
    Success,
    server_mechanism,
)

__all__ = [
    "ITERATIONS",
    "MECHANISMS",
    "REFUSED",
    "Challenge",
    "CheckPassword",
    "ClientMechanism",
    "Failure",
    "LookUpKeys",
    "SaslError",
    "ScramKeys",
    "ServerMechanism",
    "Step",
    "Success",
    "client_mechanism",
    "prepared_password",
    "saslprep",
    "scram_keys",
    "server_mechanism",
]
