"""The admin: a Session with a server, and the commands of it."""
