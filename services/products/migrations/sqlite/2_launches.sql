-- Launches to come: which products, and when (microseconds since 1970). Nothing of this is cached,
-- so that no trigger watches it.
CREATE TABLE launches (
    id TEXT NOT NULL PRIMARY KEY,
    -- Either the products of a category, or these, one id to a line.
    category TEXT NOT NULL,
    ids TEXT NOT NULL,
    launch_at INTEGER NOT NULL
) STRICT;
CREATE INDEX launches_by_time ON launches (launch_at);

-- How far each replica has come with it.
CREATE TABLE launch_replicas (
    launch_id TEXT NOT NULL REFERENCES launches (id) ON DELETE CASCADE,
    replica TEXT NOT NULL,
    loaded INTEGER NOT NULL,
    missing INTEGER NOT NULL,
    total INTEGER NOT NULL,
    PRIMARY KEY (launch_id, replica)
) STRICT;
