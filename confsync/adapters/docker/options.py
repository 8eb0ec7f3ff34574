"""What the Docker adapter must be told. Times are seconds."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class DockerOptions:
    """Which container, and how its engine is asked.

    Where the engine is stands in the environment, as for Docker's own client: DOCKER_HOST,
    DOCKER_TLS_VERIFY, DOCKER_CERT_PATH. `container`: a name, an id or the beginning of one,
    "label=KEY" or "label=KEY=VALUE". `timeout`: of one request to the engine.
    """

    container: str
    timeout: float = 10.0
