"""The command line, `metric-depth`: one thin file a subcommand; parse, one call, print."""
