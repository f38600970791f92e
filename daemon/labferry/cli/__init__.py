"""What an operator types: one module per command or family, all of them thin.

Room: cli, the top of the layers. Commands ask the daemon through `labferry.control.client`; only `cli.run` is the
daemon. `main` finds the command, `options` the socket, `output` prints, `human` and `log_file` do what they say.
"""
