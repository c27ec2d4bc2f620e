"""The matching core: own orders against a recorded market, in whole ticks and lots, compiled or not."""
