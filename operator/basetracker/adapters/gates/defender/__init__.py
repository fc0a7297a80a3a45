"""Microsoft Defender for Cloud as a gate: its query and rows, the asking, and what it all means for a digest."""
