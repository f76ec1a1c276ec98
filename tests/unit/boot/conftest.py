"""The same daemon as the library's tests."""

from unit.client.conftest import data_dir

__all__ = ["data_dir"]
