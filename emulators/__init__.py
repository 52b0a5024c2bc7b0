"""Stand-ins on loopback for the services that comfyport talks to, for tests and for trying things out."""
