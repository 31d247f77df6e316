from hypothesis import HealthCheck, settings

# How long an example takes says more about the machine's other work than about locks.
settings.register_profile("locks", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("locks")
