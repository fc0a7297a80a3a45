"""The gate that asks a Job of the user's own."""
