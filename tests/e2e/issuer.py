"""Another issuer of tokens: a key pair made and used by openssl, and its public half as PEM or JWK."""

import json
import os
import re
import subprocess

from harness import base64url


def openssl(*arguments, text=b""):
    return subprocess.run(["openssl", *arguments], input=text, capture_output=True,
                          check=True).stdout


def _der_numbers(der):
    """r and s of an ECDSA signature in ASN.1."""
    rest = der[2:] if der[1] < 0x80 else der[3:]
    numbers = []
    while rest:
        length = rest[1]
        numbers.append(int.from_bytes(rest[2:2 + length], "big"))
        rest = rest[2 + length:]
    return numbers


class Issuer:
    """algorithm: RS256 or ES256."""

    def __init__(self, directory, algorithm="RS256", kid=None):
        self.algorithm = algorithm
        self.kid = kid
        self._path = os.path.join(directory, f"issuer-{os.urandom(4).hex()}.key")
        kind = (["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"] if algorithm == "RS256"
                else ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"])
        openssl("genpkey", *kind, "-out", self._path)
        self.pem = openssl("pkey", "-in", self._path, "-pubout").decode()

    def jwk(self):
        text = openssl("pkey", "-in", self._path, "-pubout", "-text", "-noout").decode()
        digits = bytes.fromhex(re.sub(r"[\s:]", "", re.search(
            r"(?:Modulus|pub):\n((?:\s+[0-9a-f:]+\n)+)", text).group(1)))
        if self.algorithm == "RS256":
            key = {"kty": "RSA", "n": base64url(digits.lstrip(b"\0")), "e": "AQAB"}
        else:
            key = {"kty": "EC", "crv": "P-256", "x": base64url(digits[1:33]),
                   "y": base64url(digits[33:65])}
        return {**key, **({"kid": self.kid} if self.kid else {})}

    def jwks(self):
        return json.dumps({"keys": [self.jwk()]})

    def sign(self, claims, **header):
        header = {"alg": self.algorithm, "typ": "JWT", **({"kid": self.kid} if self.kid else {}),
                  **header}
        signed = ".".join(base64url(json.dumps(part).encode()) for part in (header, claims))
        signature = openssl("dgst", "-sha256", "-sign", self._path, text=signed.encode())
        if self.algorithm == "ES256":
            signature = b"".join(number.to_bytes(32, "big") for number in _der_numbers(signature))
        return f"{signed}.{base64url(signature)}"
