"""Saving to the state directory without letting a full disk stop the work."""

import asyncio
from collections.abc import Callable

from confsync.engine.draft import Draft
from confsync.errors import StateError, WriteError


async def keep(draft: Draft, save: Callable[..., None], *values: object) -> bool:
    """Save something for a restart; when it cannot be kept, say so and go on."""
    try:
        await asyncio.to_thread(save, *values)
    except (StateError, WriteError) as error:
        draft.note(f"not kept for a restart: {error}")
        return False
    return True
