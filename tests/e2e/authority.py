"""A certificate authority of the tests' own, by openssl."""

import os
import ssl

from issuer import openssl


class Authority:
    def __init__(self, directory):
        self._directory = directory
        self.certificate = os.path.join(directory, "ca.pem")
        self._key = os.path.join(directory, "ca.key")
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                "-keyout", self._key, "-out", self.certificate, "-subj", "/CN=Tests", "-days", "2",
                "-addext", "keyUsage=critical,keyCertSign,cRLSign")

    def issue(self, name, certificate, key, kind="ec"):
        """Writes a certificate of that name (and localhost), and its key."""
        request = os.path.join(self._directory, "request.pem")
        extensions = os.path.join(self._directory, "extensions")
        with open(extensions, "w", encoding="ascii") as file:
            # The last three are what Python 3.13 asks of a certificate (RFC 5280).
            file.write("subjectAltName=DNS:localhost,IP:127.0.0.1\n"
                       "basicConstraints=CA:FALSE\nsubjectKeyIdentifier=hash\n"
                       "authorityKeyIdentifier=keyid\n")
        new = (["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"] if kind == "ec"
               else ["-newkey", "rsa:2048"])
        openssl("req", *new, "-nodes", "-keyout", f"{key}.new", "-out", request,
                "-subj", f"/CN={name}")
        openssl("x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self._key,
                "-CAcreateserial", "-days", "2", "-extfile", extensions, "-out",
                f"{certificate}.new")
        os.rename(f"{key}.new", key)
        os.rename(f"{certificate}.new", certificate)

    def context(self):
        """Of a client that trusts it."""
        return ssl.create_default_context(cafile=self.certificate)
