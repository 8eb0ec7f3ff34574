"""confsync keeps HAProxy in step with Consul without dropping a connection."""

__version__ = "0.1.0"
