"""Where commands are called, and the agents that they ask."""

from tests.fakes.agent import agents, folder

__all__ = ["agents", "folder"]
