"""What the tests stand on: the service's process, functions, raw HTTP, builds of function binaries."""
