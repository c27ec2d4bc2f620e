"""REST `exchangeInfo` and `fundingInfo`: what each of the three markets says of what it lists."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from replay.serving.synthetic_venue import fixed
from replay.serving.venues.binance.synthetic.listing import Listed
from replay.synthetic.market import Market
from toolkit.clock import NS_PER_S
from toolkit.venues.binance.products import COINM, Product

__all__ = ["exchange_info", "funding_info"]

_HOUR_NS = 3600 * NS_PER_S
_PERPETUAL_UNTIL_MS = 4_133_404_800_000
_MIN_NOTIONAL = "10"
_FUTURES_ORDERS: Final = ["LIMIT", "MARKET", "STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET"]
_SPOT_ORDERS: Final = [
    "LIMIT",
    "LIMIT_MAKER",
    "MARKET",
    "STOP_LOSS",
    "STOP_LOSS_LIMIT",
    "TAKE_PROFIT",
    "TAKE_PROFIT_LIMIT",
]

Row = dict[str, Any]


def funding_info(rows: Iterable[Listed], market: Market) -> list[Row]:
    """`fundingInfo`: the synthetic market does not settle every 8 hours, so every symbol is in the list."""
    hours = max(1, market.options.funding_every_ns // _HOUR_NS)
    return [
        {
            "symbol": row.symbol,
            "adjustedFundingRateCap": "0.04000000",
            "adjustedFundingRateFloor": "-0.04000000",
            "fundingIntervalHours": hours,
            "disclaimer": False,
        }
        for row in rows
    ]


def exchange_info(product: Product, rows: Iterable[Listed], now_ms: int, weight_per_minute: int) -> Row:
    """`exchangeInfo`."""
    info: Row = {"timezone": "UTC", "serverTime": now_ms}
    if not product.is_spot and product is not COINM:
        info["futuresType"] = "U_MARGINED"
    info |= {
        "rateLimits": [
            {
                "rateLimitType": "REQUEST_WEIGHT",
                "interval": "MINUTE",
                "intervalNum": 1,
                "limit": weight_per_minute,
            }
        ],
        "exchangeFilters": [],
    }
    if "futuresType" in info:
        info["assets"] = [{"asset": "USDT", "marginAvailable": True, "autoAssetExchange": "-10000"}]
    write = _spot if product.is_spot else _coin_margined if product is COINM else _usd_margined
    return info | {"symbols": [write(row) for row in rows]}


def _price_filter(row: Listed) -> Row:
    instrument = row.instrument
    tick = row.px_text(instrument.tick(instrument.base_units))
    return {
        "filterType": "PRICE_FILTER",
        "minPrice": tick,
        "maxPrice": row.px_text(instrument.base_units * 50),
        "tickSize": tick,
    }


def _lot_filter(row: Listed, name: str, times: int) -> Row:
    step = row.count_text(1)
    instrument = row.instrument
    most = row.count(instrument.base_units, instrument.mean_lots) * times
    return {"filterType": name, "minQty": step, "maxQty": row.count_text(most), "stepSize": step}


def _futures_filters(row: Listed) -> list[Row]:
    return [
        _price_filter(row),
        _lot_filter(row, "LOT_SIZE", 10_000),
        _lot_filter(row, "MARKET_LOT_SIZE", 1_000),
        {"filterType": "MAX_NUM_ORDERS", "limit": 200},
        *([] if row.contract else [{"filterType": "MIN_NOTIONAL", "notional": _MIN_NOTIONAL}]),
        {
            "filterType": "PERCENT_PRICE",
            "multiplierUp": "1.0500",
            "multiplierDown": "0.9500",
            "multiplierDecimal": "4",
        },
    ]


def _usd_margined(row: Listed) -> Row:
    instrument = row.instrument
    return {
        "symbol": row.symbol,
        "pair": row.pair,
        "contractType": "PERPETUAL",
        "deliveryDate": _PERPETUAL_UNTIL_MS,
        "onboardDate": 1_569_398_400_000,
        "status": row.status,
        "maintMarginPercent": "2.5000",
        "requiredMarginPercent": "5.0000",
        "baseAsset": row.base,
        "quoteAsset": row.quote,
        "marginAsset": row.quote,
        # Decimals of the numbers, and not the steps between them.
        "pricePrecision": instrument.px_decimals,
        "quantityPrecision": instrument.sz_decimals,
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "underlyingType": "COIN",
        "underlyingSubType": [],
        "triggerProtect": "0.0500",
        "liquidationFee": "0.012500",
        "marketTakeBound": "0.05",
        "filters": _futures_filters(row),
        "orderTypes": _FUTURES_ORDERS,
        "timeInForce": ["GTC", "IOC", "FOK", "GTX", "GTD"],
    }


def _coin_margined(row: Listed) -> Row:
    return {
        "symbol": row.symbol,
        "pair": row.pair,
        "contractType": "PERPETUAL",
        "deliveryDate": _PERPETUAL_UNTIL_MS,
        "onboardDate": 1_597_042_800_000,
        # Here the venue calls it so, and not `status`.
        "contractStatus": row.status,
        "contractSize": row.contract,
        "marginAsset": row.base,
        "maintMarginPercent": "2.5000",
        "requiredMarginPercent": "5.0000",
        "baseAsset": row.base,
        "quoteAsset": row.quote,
        "pricePrecision": row.instrument.px_decimals,
        "quantityPrecision": 0,
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "equalQtyPrecision": 4,
        "triggerProtect": "0.0500",
        "underlyingType": "COIN",
        "underlyingSubType": [],
        "filters": _futures_filters(row),
        "orderTypes": _FUTURES_ORDERS,
        "timeInForce": ["GTC", "IOC", "FOK", "GTX"],
    }


def _spot(row: Listed) -> Row:
    return {
        "symbol": row.symbol,
        "status": row.status,
        "baseAsset": row.base,
        "baseAssetPrecision": 8,
        "quoteAsset": row.quote,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "baseCommissionPrecision": 8,
        "quoteCommissionPrecision": 8,
        "orderTypes": _SPOT_ORDERS,
        "icebergAllowed": True,
        "ocoAllowed": True,
        "quoteOrderQtyMarketAllowed": True,
        "allowTrailingStop": True,
        "cancelReplaceAllowed": True,
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
        "filters": [
            _price_filter(row),
            _lot_filter(row, "LOT_SIZE", 10_000),
            {
                "filterType": "NOTIONAL",
                "minNotional": fixed(int(_MIN_NOTIONAL), 0, 8),
                "applyMinToMarket": True,
                "maxNotional": "9000000.00000000",
                "applyMaxToMarket": False,
                "avgPriceMins": 5,
            },
            {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": 200},
        ],
        "permissions": [],
        "permissionSets": [["SPOT"]],
        "defaultSelfTradePreventionMode": "EXPIRE_MAKER",
        "allowedSelfTradePreventionModes": ["EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH"],
    }
