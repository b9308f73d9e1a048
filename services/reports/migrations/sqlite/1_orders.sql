-- An order is recorded once and never changed by the service. What it may hold is checked here
-- too, since reports rely on it whoever wrote the row: that nothing overflows, and that its month
-- and its region are among those that reports are asked for by.
CREATE TABLE orders (
    id TEXT NOT NULL PRIMARY KEY,
    customer_id TEXT NOT NULL,
    product_id TEXT NOT NULL,
    region TEXT NOT NULL CHECK (region IN ('central', 'east', 'north', 'south', 'west')),
    -- Microseconds since 1970; the years 2000 to 2099.
    ordered_at INTEGER NOT NULL
        CHECK (ordered_at >= 946684800000000 AND ordered_at < 4102444800000000),
    quantity INTEGER NOT NULL CHECK (quantity BETWEEN 1 AND 1000),
    price_cents INTEGER NOT NULL CHECK (price_cents BETWEEN 0 AND 100000000),
    -- `2026-05`: what a change touches, and what a report reads.
    month TEXT NOT NULL GENERATED ALWAYS AS
        (strftime('%Y-%m', ordered_at / 1000000, 'unixepoch')) STORED
) STRICT;
CREATE INDEX orders_by_month ON orders (month, region);
