"""The async shell over ports and core: when a cycle runs, and what it does in which order.

May import: ports, core, domain, errors, asyncio. Start at cycle.py.
"""
