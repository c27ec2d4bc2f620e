"""What a command is told: options, kinds of values, and the configuration of a recorder."""
