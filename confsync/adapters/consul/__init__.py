"""Consul as a Discoverer: blocking queries, translated and complete.

All of py-consul and aiohttp is in client.py. Start at discoverer.py.
"""
