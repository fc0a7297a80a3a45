"""The kopf door: events only poke a key."""
