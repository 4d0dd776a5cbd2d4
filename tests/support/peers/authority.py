"""authority: certificates for one test, from a CA that only the test trusts."""

from __future__ import annotations

from pathlib import Path

import trustme


class Authority:
    """A CA whose files lie in one folder.

    ca: PEM of the CA itself, for clients to trust.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._ca = trustme.CA()
        self.ca = folder / "ca.pem"
        self._ca.cert_pem.write_to_path(str(self.ca))

    def issue(self, *names: str) -> Path:
        """A PEM file with key and certificate chain for these host names or addresses."""
        path = self.folder / f"{names[0]}.pem"
        certificate = self._ca.issue_cert(*names, common_name=names[0])  # fetchmail asks
        certificate.private_key_and_cert_chain_pem.write_to_path(str(path))
        path.chmod(0o600)
        return path
