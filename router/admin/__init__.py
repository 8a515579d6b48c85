"""The admin side: another configuration, versions, targets for Prometheus. Its own application on its own listener."""
