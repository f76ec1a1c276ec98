"""State in Redis: shared by several supernodes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, cast

from dragonfly.errors import CapacityError, UsageError

if TYPE_CHECKING:
    import redis

__all__ = ["RedisState"]

_PREFIX = "dragonfly"
#: redis-py takes another path than a number for database 0.
_ADDRESS = re.compile(r"unix://.+|rediss?://[^/?]+(/\d*)?(\?.*)?")


class RedisState:
    """A hash per kind. UsageError where the `redis` package is missing, CapacityError where no server answers."""

    def __init__(self, address: str) -> None:
        try:
            import redis
        except ImportError:
            raise UsageError(
                "Redis needs a package more", subject=address, advice="install dragonfly-p2p[redis]"
            ) from None
        self._address = address.rpartition("@")[2]
        self._errors = redis.RedisError
        try:
            if not _ADDRESS.fullmatch(address):
                raise ValueError
            self._redis: redis.Redis = redis.Redis.from_url(address, socket_timeout=5, socket_connect_timeout=5)
        except ValueError:
            raise UsageError(
                "not a place for state", subject=self._address, advice="write redis://HOST:PORT/DB"
            ) from None
        try:
            self._redis.ping()
        except redis.RedisError as error:
            raise self._refused(error) from error

    def get(self, kind: str, key: str) -> bytes | None:
        try:
            return cast("bytes | None", self._redis.hget(_name(kind), key))
        except self._errors as error:
            raise self._refused(error) from error

    def put(self, kind: str, key: str, value: bytes) -> None:
        try:
            self._redis.hset(_name(kind), key, cast("str", value))
        except self._errors as error:
            raise self._refused(error) from error

    def add(self, kind: str, key: str, value: bytes) -> bytes:
        try:
            self._redis.hsetnx(_name(kind), key, cast("str", value))
        except self._errors as error:
            raise self._refused(error) from error
        found = self.get(kind, key)
        return value if found is None else found

    def remove(self, kind: str, key: str) -> None:
        try:
            self._redis.hdel(_name(kind), key)
        except self._errors as error:
            raise self._refused(error) from error

    def all(self, kind: str) -> dict[str, bytes]:
        try:
            found = cast("dict[bytes, bytes]", self._redis.hgetall(_name(kind)))
        except self._errors as error:
            raise self._refused(error) from error
        return {key.decode(): value for key, value in found.items()}

    def close(self) -> None:
        self._redis.close()

    def _refused(self, error: Exception) -> CapacityError:
        return CapacityError("Redis can't be used", subject=self._address, advice=str(error))


def _name(kind: str) -> str:
    return f"{_PREFIX}:{kind}"
