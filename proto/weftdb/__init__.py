"""The package ``weftdb`` of the wire contract; one folder per version of it."""
