-- An order is recorded once and never changed by the service. What it may hold is checked here
-- too, since reports rely on it whoever wrote the row: that nothing overflows, and that its month
-- and its region are among those that reports are asked for by.
CREATE TABLE orders (
    -- Ids compare byte by byte, as on SQLite: reports follow that order.
    id text COLLATE "C" PRIMARY KEY,
    customer_id text COLLATE "C" NOT NULL,
    product_id text COLLATE "C" NOT NULL,
    region text COLLATE "C" NOT NULL
        CHECK (region IN ('central', 'east', 'north', 'south', 'west')),
    -- Microseconds since 1970; the years 2000 to 2099.
    ordered_at bigint NOT NULL
        CHECK (ordered_at >= 946684800000000 AND ordered_at < 4102444800000000),
    quantity bigint NOT NULL CHECK (quantity BETWEEN 1 AND 1000),
    price_cents bigint NOT NULL CHECK (price_cents BETWEEN 0 AND 100000000),
    -- `2026-05`: what a change touches, and what a report reads.
    month text COLLATE "C" NOT NULL GENERATED ALWAYS AS (
        extract(year FROM to_timestamp(ordered_at / 1000000) AT TIME ZONE 'UTC')::text || '-' ||
        lpad(extract(month FROM to_timestamp(ordered_at / 1000000) AT TIME ZONE 'UTC')::text, 2, '0')
    ) STORED
);
CREATE INDEX orders_by_month ON orders (month, region);
