"""What Hyperliquid understands, acknowledges and refuses, whatever stands behind it: a synthetic market or a recording."""
