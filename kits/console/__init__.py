"""The interactive console of an admin, and scripts of its commands."""
