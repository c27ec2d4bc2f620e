"""What a command is given: options, kinds of values, and the configuration of a recorder."""
