"""The library for programs: `Client` and `AsyncClient` fetch through this node's daemon.

from dragonfly.client import Client, Wanted
result = Client(supernodes=["10.0.0.5"]).get(Wanted(url="https://…/model.bin"), Path("model.bin"))
"""

from dragonfly.client.client import AsyncClient, Client, Wanted

__all__ = ["AsyncClient", "Client", "Wanted"]
