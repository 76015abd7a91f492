"""A city that lives: institutions with families, contracts, lessons and money, of which some close with the money.

    plans.py    who is there, who will close, of what, and who is only awkward: drawn from the seed
    courses.py  how a way of closing, or an awkward time, bends an institution's days
    life.py     one institution day by day: contracts, charges, lessons, releases, refunds, complaints, bank entries
    export.py   the same as files that a real deployment imports, and as statements of its banks

The truth (who closes when and why) is in the plan alone; nothing that is exported tells it.
"""
