"""An Alyx, a data server and a rig to try everything on: for `labferry demo` and the tests, on loopback only."""
