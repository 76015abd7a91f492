"""What others pull: pure renderers of the numbered feed."""
