"""What Binance understands and how it refuses, whatever is behind it."""
