"""Session tokens: JWTs (RFC 7519) signed with Ed25519 (RFC 8037)."""

import base64
import fcntl
import hashlib
import os
import secrets
import time
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from services.chassis.database import Row
from services.user.names import comparable
from services.user.schemas import LoggedIn
from services.user.settings import Settings

DEVICE_AUDIENCE = "todolist-device"
GENERATED_KEY = Path("data/token-key.pem")


class Tokens:
    """Signs tokens and publishes the key that verifies them."""

    def __init__(self, settings: Settings) -> None:
        """Raises ValueError, naming the setting, when the key cannot be used."""
        path = settings.token_key_file or _generated_key()
        try:
            key = serialization.load_pem_private_key(path.read_bytes(), password=None)
        except (OSError, ValueError, TypeError) as error:
            raise ValueError(f"TOKEN_KEY_FILE: cannot read a private key from {path}: {error}") from None
        if not isinstance(key, Ed25519PrivateKey):
            raise ValueError(f"TOKEN_KEY_FILE: {path} holds no Ed25519 private key")
        self._settings = settings
        self._key = key
        x = _base64url(key.public_key().public_bytes_raw())
        # The key's id is its thumbprint (RFC 7638, RFC 8037 appendix A.3): the same for all replicas.
        thumbprint = hashlib.sha256(f'{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}'.encode()).digest()
        self._key_id = _base64url(thumbprint)
        self.jwks = {
            "keys": [{"kty": "OKP", "crv": "Ed25519", "x": x, "kid": self._key_id, "alg": "EdDSA", "use": "sig"}]
        }

    def issue(self, account: Row, type: str = "") -> LoggedIn:
        """Return the response to a login: a token for the session, and one for the device."""
        now, lifetime = int(time.time()), int(self._settings.token_lifetime)
        claims = {
            "iss": self._settings.token_issuer,
            "aud": self._settings.token_audience,
            "sub": account["id"],
            "name": account["name"],
            "iat": now,
            "exp": now + lifetime,
        }
        device = {"aud": DEVICE_AUDIENCE, "sub": account["name"], "jti": secrets.token_hex(16), "iat": now}
        return LoggedIn(
            type=type,
            current_authority=account["authority"],
            token=self._sign(claims),
            expires_in=lifetime,
            device=self._sign(device),
        )

    def device_id(self, token: str, name: str) -> str | None:
        """Return the id in a device token that was issued for this name, or None for any other token."""
        # Imported here: it would delay the start, and only logins need it.
        import jwt

        try:
            key = self._key.public_key()
            claims = jwt.decode(token, key, algorithms=["EdDSA"], audience=DEVICE_AUDIENCE)
        except jwt.PyJWTError:
            return None
        return str(claims["jti"]) if comparable(str(claims["sub"])) == comparable(name) else None

    def _sign(self, claims: dict[str, Any]) -> str:
        import jwt

        return jwt.encode(claims, self._key, algorithm="EdDSA", headers={"kid": self._key_id})


def _generated_key() -> Path:
    """Return the file of the local key, created on first use; of two processes the first one creates it."""
    if not GENERATED_KEY.exists() or not GENERATED_KEY.stat().st_size:
        GENERATED_KEY.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(GENERATED_KEY, os.O_RDWR | os.O_CREAT, 0o600), "r+b") as file:
            # Locked: a temporary file with os.link does not work on all file systems.
            fcntl.flock(file, fcntl.LOCK_EX)
            if not file.read(1):
                file.write(
                    Ed25519PrivateKey.generate().private_bytes(
                        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
                    )
                )
                file.flush()
                os.fsync(file.fileno())
    return GENERATED_KEY


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
