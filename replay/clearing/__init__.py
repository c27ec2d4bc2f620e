"""What a venue does with the money of an account: fee tiers, funding, margin, liquidation, transfers."""
