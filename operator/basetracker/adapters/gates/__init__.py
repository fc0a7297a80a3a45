"""The gates that ask the world, one module or package a kind."""
