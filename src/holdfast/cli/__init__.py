"""What a person runs by hand: `holdfast config convert` and `holdfast config check`.

Nothing here talks to a machine or a cloud, or writes a file: a machine's config comes in, an answer goes out.
"""

from .main import main

__all__ = ["main"]
