"""Measure Polymarket's 15-minute bitcoin contracts: the figures behind polymarket_btc15m.toml.

Run it as ``python scenarios/measure_btc15m.py [FOLDER]``. FOLDER (default ``../shared/data``) holds the two
CSV files named below: best bid and ask of both outcomes, every second, and one account's trades. It prints a
line for each figure; those the scenario uses stand at its head.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import logit, ndtri

QUOTES = "polymarket_btc15m_quotes_20251226.csv"
TRADES = "polymarket_btc15m_trades_20251226.csv"
LENGTH = 900  # seconds a contract lives
THIRDS = {"early": (0, 300), "middle": (300, 600), "late": (600, 840)}  # the last minute is all at 0 or 1


def quotes(folder: Path) -> pd.DataFrame:
    """Read the book in terms of Up: bid, ask, mid and top sizes, by window and second of it."""
    rows = pd.read_csv(folder / QUOTES, parse_dates=["Timestamp", "TargetTime"])
    rows["second"] = (rows["Timestamp"] - rows["TargetTime"]).dt.total_seconds().astype(int)
    rows = rows.drop_duplicates(["TargetTime", "second"], keep="last").set_index(["TargetTime", "second"])
    book = rows.select_dtypes("number")
    book = book.where(book > 0)  # a side without orders is written as 0; the other outcome's book may show it
    bid, ask = book["UpBid"].fillna(1 - book["DownAsk"]), book["UpAsk"].fillna(1 - book["DownBid"])
    book = book.assign(bid=bid, ask=ask, mid=(bid + ask) / 2)
    return book[~(ask - bid < 1e-9)]  # crossed where the outcomes' books were read at different moments


def quote_figures(book: pd.DataFrame) -> dict[str, float]:
    """Return the figures of the quotes: spread, sizes, how fast and how far the mid moves."""
    two_sided = book.dropna(subset=["UpBid", "UpAsk"])
    spread = two_sided["ask"] - two_sided["bid"]
    central, second = two_sided["mid"].between(0.1, 0.9), two_sided.index.get_level_values("second")
    steps = two_sided[["UpBid", "UpAsk"]].groupby("TargetTime").diff().dropna()
    found = {
        "spread_one_cent_share": (spread < 0.0101).mean(),
        "spread_mean_first_12_min": spread[central & (second < 720)].mean(),
        "spread_mean_last_90_s": spread[central & (second >= 810)].mean(),
        "top_size_median": two_sided.loc[central, ["UpBidLiquidity", "UpAskLiquidity"]].stack().median(),
        "quote_update_rate": steps.ne(0).any(axis=1).mean(),
    }

    mid = book["mid"].unstack("TargetTime").reindex(range(LENGTH))
    mid = mid.loc[:, mid.iloc[:10].notna().any()].ffill().bfill()  # windows seen from their start
    outcome = (mid.iloc[[-1]] > 0.5).astype(float)
    squares = {k: (pd.concat([mid.iloc[::k], outcome]).diff() ** 2).sum() for k in (1, 10, 60)}
    found |= {"windows": mid.shape[1], "p0_times_1_less_p0": (mid.iloc[0] * (1 - mid.iloc[0])).mean()}
    found |= {f"squared_changes_{k}_s": total.mean() for k, total in squares.items()}
    found["squared_changes_1_s_se"] = squares[1].sem()

    # Every 5 seconds, away from 0 and 1; every 1 or 10 seconds give the same: the one-cent grid adds little.
    central_mid = mid.where((mid >= 0.1) & (mid <= 0.9)).iloc[::5]
    left = LENGTH - central_mid.index.to_numpy()[1:, None]
    logit_squares = (logit(central_mid).diff() ** 2).iloc[1:] / 5
    # A threshold contract's probit moves by 1 / sqrt(time left) per square root of a second.
    probit_squares = (ndtri(central_mid).diff() ** 2).iloc[1:] / 5 * left
    for name, (low, high) in THIRDS.items():
        found[f"logit_volatility_{name}"] = logit_squares.loc[low : high - 1].stack().mean() ** 0.5
        found[f"threshold_variance_ratio_{name}"] = probit_squares.loc[low : high - 1].stack().mean()
    return found


def trade_figures(folder: Path, book: pd.DataFrame) -> dict[str, float]:
    """Return the figures of the account's trades, most of which were fills of its own quotes."""
    trades = pd.read_csv(folder / TRADES, parse_dates=["timestamp", "TargetTime"])
    trades["second"] = (trades["timestamp"] - trades["TargetTime"]).dt.total_seconds().astype(int)
    trades["sign"] = np.where(trades["trade_side"] == "Up", 1, -1)  # the account's; buying Down is selling Up
    up_price = trades["price"].where(trades["sign"] > 0, 1 - trades["price"])

    def book_after(seconds: int) -> pd.DataFrame:
        moment = pd.MultiIndex.from_arrays([trades["TargetTime"], trades["second"] + seconds])
        return book.reindex(moment).reset_index(drop=True)

    distance = {lag: (book_after(-lag)["mid"] - up_price).abs().mean() for lag in range(12)}
    lag = min(distance, key=lambda seconds: distance[seconds])  # prints are stamped later than their quotes
    then = book_after(-lag)
    own_best = then["bid"].where(trades["sign"] > 0, then["ask"])
    passive = trades[trades["sign"] * (own_best - up_price) >= -1e-6]

    # A side's prints in one second count as one order.
    orders = passive.groupby(["TargetTime", "second", "sign"])["quantity"].sum().reset_index()
    bought = trades.groupby(["TargetTime", "trade_side"])["quantity"].sum().unstack()
    paid = (trades["quantity"] * trades["price"]).groupby(trades["TargetTime"]).sum()
    net = (trades["sign"] * trades["quantity"]).groupby(trades["TargetTime"]).cumsum().abs()
    signed = (passive["sign"] * passive["quantity"]).groupby([passive["TargetTime"], passive["second"]]).sum()
    side = np.sign(signed[signed != 0])  # of the net quantity of each second
    late = (orders["second"] >= LENGTH - 120).mean()  # share of the fills in the last 2 minutes
    found = {
        "stamp_lag_seconds": lag,
        "passive_share": len(passive) / then["mid"].notna().sum(),
        "edge_30_s_later": (trades["sign"] * (book_after(30 - lag)["mid"] - up_price)).mean(),
        "cost_of_a_pair_median": (paid / bought.min(axis=1)).median(),
        "fills_per_second": len(orders) / bought.shape[0] / LENGTH,
        "fills_last_2_min_to_rest": (late / 120) / ((1 - late) / (LENGTH - 120)),
        "side_autocorrelation": (side * side.groupby("TargetTime").shift()).mean(),
        "largest_net_position_median": net.groupby(trades["TargetTime"]).max().median(),
        "size_mean": orders["quantity"].mean(),
        "size_sigma": np.sqrt(2 * np.log(orders["quantity"].mean() / orders["quantity"].median())),
    }
    found |= {f"size_{q}%": orders["quantity"].quantile(q / 100) for q in (25, 50, 75, 90, 99)}
    seconds = orders.loc[orders["second"] < 840].groupby("TargetTime")["second"]
    for width in (10, 30, 60):  # variance to mean of fills in so many seconds: 1 if Poisson
        counts = [np.bincount((s - s.min()) // width)[:-1] for _, s in seconds]
        found[f"fill_dispersion_{width}_s"] = np.median([c.var(ddof=1) / c.mean() for c in counts])
    return found


if __name__ == "__main__":
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "../shared/data")
    if missing := [name for name in (QUOTES, TRADES) if not (folder / name).is_file()]:
        sys.exit(f"error: {folder} has no {missing[0]}")
    book = quotes(folder)
    for name, value in (quote_figures(book) | trade_figures(folder, book)).items():
        print(f"{name} = {value:.4g}")
