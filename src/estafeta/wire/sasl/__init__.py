"""SASL: PLAIN, LOGIN, SCRAM-SHA-256(-PLUS), EXTERNAL; server and client, sans-IO (RFC 4422)."""

from estafeta.wire.sasl.client import ClientMechanism, SaslError, client_mechanism
from estafeta.wire.sasl.prep import prepared_password, saslprep
from estafeta.wire.sasl.scram import ITERATIONS, ScramKeys, scram_keys
from estafeta.wire.sasl.server import (
    END_POINT,
    MECHANISMS,
    REFUSED,
    SCRAM_PLUS,
    Challenge,
    CheckCertificate,
    CheckPassword,
    Failure,
    LookUpKeys,
    ServerMechanism,
    Step,
    Success,
    mechanisms,
    server_mechanism,
)

__all__ = [
    "END_POINT",
    "ITERATIONS",
    "MECHANISMS",
    "REFUSED",
    "SCRAM_PLUS",
    "Challenge",
    "CheckCertificate",
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
    "mechanisms",
    "prepared_password",
    "saslprep",
    "scram_keys",
    "server_mechanism",
]
