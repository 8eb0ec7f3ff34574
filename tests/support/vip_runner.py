"""One host's part in a shared address, as a process of its own: for tests in network namespaces.

Settings of `[vip]` come as one JSON argument, with `directory`. The password comes from the file that
PASSWORD names. Lines on standard input steer it: `ok`, `ill WHY`, `leave`; lines on standard output
are JSON: each event, and `{"text": "ready"}` when it runs.
"""

import asyncio
import json
import os
import sys
from pathlib import Path

from confsync.errors import ConfsyncError
from confsync.settings.balancer import Vip
from confsync.wiring.vip import failover


def say(level: str, text: str, /, **fields: object) -> None:
    print(json.dumps({"level": level, "text": text, **fields}), flush=True)


async def main() -> int:
    settings = json.loads(sys.argv[1])
    directory = settings.pop("directory")
    password = Path(os.environ.pop("PASSWORD")).read_text().strip()
    made = failover(Vip(**settings), password=password, event=say, directory=directory)
    assert made is not None
    try:
        await made.clean()
    except ConfsyncError as error:
        say("error", "refused", error=str(error), detail=error.detail, code=error.exit_code)
        return error.exit_code
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)

    async def steer() -> None:
        while line := (await reader.readline()).decode():
            word, _, why = line.strip().partition(" ")
            if word == "leave":
                await made.leave()
                say("info", "left")
                return
            made.health(word == "ok", why)

    async with asyncio.TaskGroup() as group:
        run = group.create_task(made.run())
        steering = group.create_task(steer())
        say("info", "ready")
        await run
        steering.cancel()
    say("info", "ended", role=made.standing().role)
    return 0


sys.exit(asyncio.run(main()))
