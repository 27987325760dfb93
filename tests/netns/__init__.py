"""An internet of its own for the guard: two network namespaces joined by one wire.

Inside runs our client; outside stands a machine that answers on every address there
is, so that nothing which the guard lets slip can fail for want of a listener. Needs
`unshare` and `ip` and the right to use them; touches no interface of the machine.
"""
