"""How a file is sent, and what becomes of it."""
