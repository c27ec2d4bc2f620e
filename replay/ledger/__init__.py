"""The money of an account in whole numbers: what contracts are worth, fees, positions, equity."""
