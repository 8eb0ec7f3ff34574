"""One host's part in a shared address, as a process of its own: for tests in network namespaces.

One JSON argument: `vip`, the table of the settings; `directory`; `password`, a file; `library`, the
one that lets ucarp hear at once; `name`. Lines on standard input steer it: `ok`, `ill WHY`, `leave`,
`standing`; lines on standard output are JSON: each event, `{"text": "ready"}` when it runs, answers. It
serves its name over HTTP on port 80, in place of a HAProxy, until standard input ends.
"""

import asyncio
import contextlib
import dataclasses
import json
import sys
from pathlib import Path

from confsync.adapters.vip import ucarp
from confsync.errors import ConfsyncError
from confsync.settings.balancer import Vip
from confsync.wiring.vip import failover


def say(level: str, text: str, /, **fields: object) -> None:
    print(json.dumps({"level": level, "text": text, **fields}), flush=True)


async def main() -> int:
    given = json.loads(sys.argv[1])
    ucarp.IMMEDIATE = given["library"]  # which the image has at a fixed place
    password = Path(given["password"]).read_text().strip()
    made = failover(Vip(**given["vip"]), password=password, event=say, directory=given["directory"])
    assert made is not None
    try:
        await made.clean()
    except ConfsyncError as error:
        say("error", "refused", error=str(error), detail=error.detail, code=error.exit_code)
        return error.exit_code

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(f"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{given['name']}".encode())
            await writer.drain()
        writer.close()

    async def leave() -> None:
        await made.leave()
        say("info", "left")

    lines = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    async with await asyncio.start_server(serve, None, 80), asyncio.TaskGroup() as group:
        group.create_task(made.run())
        say("info", "ready")
        while line := (await lines.readline()).decode():
            word, _, why = line.strip().partition(" ")
            match word:
                case "ok" | "ill":
                    made.health(word == "ok", why)
                case "leave":
                    group.create_task(leave())
                case "standing":
                    say("info", "standing", **dataclasses.asdict(made.standing()))
        await made.leave()
    return 0


sys.exit(asyncio.run(main()))
