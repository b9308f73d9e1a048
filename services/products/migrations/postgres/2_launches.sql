-- Launches to come: which products, and when (microseconds since 1970). Nothing of this is cached,
-- so that no trigger watches it.
CREATE TABLE launches (
    id text COLLATE "C" PRIMARY KEY,
    -- Either the products of a category, or these, one id to a line.
    category text COLLATE "C" NOT NULL,
    ids text NOT NULL,
    launch_at bigint NOT NULL
);
CREATE INDEX launches_by_time ON launches (launch_at);

-- How far each replica has come with it.
CREATE TABLE launch_replicas (
    launch_id text COLLATE "C" NOT NULL REFERENCES launches (id) ON DELETE CASCADE,
    replica text COLLATE "C" NOT NULL,
    loaded bigint NOT NULL,
    missing bigint NOT NULL,
    total bigint NOT NULL,
    PRIMARY KEY (launch_id, replica)
);
