"""API: the queue and the journeys over HTTP, for programs that show a bearer token.

`table` says what there is, `guard` who may, `operations` does it, `serve` puts it behind HTTP.
"""

from estafeta.office.api.serve import Api, api_routes

__all__ = ["Api", "api_routes"]
