"""The tests of the web: a package, so that they can share one district."""
