"""What a command prints: results, tables, JSON, a status line and a status page."""
