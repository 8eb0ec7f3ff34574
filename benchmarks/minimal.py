"""The least that does the job for one service: what confsync's way from Consul to HAProxy is held to.

A raw blocking query, a format string, a file and a rename, `haproxy -c`, `reload` on the master's
socket and its proof. No guard, no typing of foreign text, no record, no journal, no fsync, no retry:
whoever runs it in earnest loses connections or configurations sooner or later.

Its argument is a JSON file (see reloading.py); it prints one JSON line for each change that it made,
with the monotonic clock's milliseconds at each step.
"""

import asyncio
import json
import re
import sys
import time
from pathlib import Path
from typing import Any

import aiohttp

PAUSE = 0.005


async def talk(path: str, command: str) -> str:
    """Send one command to one of HAProxy's sockets; returns the whole answer."""
    reader, writer = await asyncio.open_unix_connection(path)
    try:
        writer.write(command.encode() + b"\n")
        writer.write_eof()
        return (await reader.read()).decode()
    finally:
        writer.close()


async def patiently(path: str, command: str) -> str:
    """Send it again while the master refuses, as it does while it executes itself anew."""
    while True:
        try:
            return await talk(path, command)
        except OSError:
            await asyncio.sleep(PAUSE)


async def worker(stats: str) -> str:
    found = re.search(r"^Pid: (\d+)$", await patiently(stats, "show info"), re.MULTILINE)
    return found[1] if found else ""


def counted(processes: str) -> int:
    """Return how often the master has reloaded."""
    found = re.search(r"^\d+\s+master\s+(\d+)", processes, re.MULTILINE)
    return int(found[1]) if found else -1


async def reload(master: str, stats: str) -> None:
    """Reload, and return when the new worker is proven."""
    old, before = await worker(stats), counted(await patiently(master, "show proc"))
    answer = await patiently(master, "reload")
    if "Success=0" in answer:
        raise SystemExit(answer)
    while True:
        processes = await patiently(master, "show proc")
        now = await worker(stats)
        failed = re.search(r"\[failed: ([1-9]\d*)\]", processes)
        if failed and counted(processes) > before:
            raise SystemExit(processes)
        if counted(processes) > before and now != old and f"\n{now} " in processes:
            return
        await asyncio.sleep(PAUSE)


def rendered(answer: list[dict[str, Any]], template: str) -> str:
    places = sorted((e["Service"]["Address"], e["Service"]["Port"]) for e in answer)
    lines = [
        f"    server {address}_{port} {address}:{port} id {100_000 + port} weight 1"
        for address, port in places
    ]
    return template.replace("@@SERVERS@@", "\n".join(lines))


async def follow(plan: dict[str, str]) -> None:
    template = Path(plan["template"]).read_text()
    config, staged = plan["config"], plan["config"] + ".new"
    there = Path(config).read_text()
    index = "0"
    url = f"{plan['consul']}/v1/health/service/{plan['service']}"
    async with aiohttp.ClientSession() as session:
        while True:
            query = {"passing": "1", "index": index, "wait": "45s"}
            async with session.get(url, params=query) as response:
                index = response.headers["X-Consul-Index"]
                answer = await response.json()
            steps = {"woken": time.monotonic()}
            text = rendered(answer, template)
            if text == there:
                continue
            Path(staged).write_text(text)
            steps["written"] = time.monotonic()
            check = await asyncio.create_subprocess_exec(
                *(plan["binary"], "-c", "-f", staged),
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
            said, _ = await check.communicate()
            if check.returncode:
                raise SystemExit(said.decode())
            steps["checked"] = time.monotonic()
            Path(staged).replace(config)
            there = text
            await reload(plan["master"], plan["stats"])
            steps["confirmed"] = time.monotonic()
            print(json.dumps({step: at * 1000 for step, at in steps.items()}), flush=True)


if __name__ == "__main__":
    asyncio.run(follow(json.loads(Path(sys.argv[1]).read_text())))
