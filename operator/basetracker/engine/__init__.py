"""The machine around the core: see, plan, act, write down; over ports only."""
