"""The show: a small shop on the emulators, played and told."""
