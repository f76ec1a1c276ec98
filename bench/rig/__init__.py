"""A measuring rig: many rate-limited hosts (network namespaces) on one Linux machine.

`hosts` builds them, `links` shapes them, `systems`, `bittorrent` and `dragonfly` are what is
measured on them, `scenario` says under which conditions, `runner` does one run, `report`
and `plot` show the results. Needs root, iproute2 and the kernel's tbf qdisc.
"""
