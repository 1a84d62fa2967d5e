"""What starts a build besides a change of its spec."""
