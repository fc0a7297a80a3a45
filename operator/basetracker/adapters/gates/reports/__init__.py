"""The gate that reads what scanners of the cluster have reported."""
