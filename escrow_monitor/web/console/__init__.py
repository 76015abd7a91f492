"""The console: pages for the people who supervise, rendered on the server."""
