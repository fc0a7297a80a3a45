"""Properties are judged by their answers, not by how long a busy machine takes for one."""

from hypothesis import settings

settings.register_profile("no-deadline", deadline=None)
settings.load_profile("no-deadline")
