"""A Docker engine: one container on it, asked, written to and listened to. Start at engine.py.

Errors are ours: TargetUnavailable and TargetDenied for the engine and the container, WriteError for
files that cannot be put. The SDK is imported in api.py alone, and only when an engine is first asked.
"""
