"""Closure watch: from the days of many institutions to who may close, why, and how sure. Pure, column by column.

    series.py      what is known of every institution: a row each, a column a day
    windows.py     sums over windows that end where a feed last spoke
    signals.py     W1 to W18 of domain.md section 4: each an intensity from 0 to 1, or unknown, and its sentence
    index.py       how likely it closes within 30, 60 and 90 days, from the signals' shown terms; the hard rules
    levels.py      yellow, orange, red: raised at once, lowered slowly
    forecast.py    the balance and what is owed over the next 90 days, as quantiles
    back_test.py   how early, how often in vain: any method over any past
"""
