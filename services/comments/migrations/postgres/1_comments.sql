-- Ids compare byte by byte, as on SQLite: pages follow that order among comments of one moment.
-- Whatever writes a row, its ids are ids and its time is one that the contract can tell.
CREATE TABLE comments (
    id text COLLATE "C" PRIMARY KEY CHECK (id ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
    product_id text COLLATE "C" NOT NULL CHECK (product_id ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
    author_id text COLLATE "C" NOT NULL CHECK (author_id ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
    body text NOT NULL,
    -- Microseconds since 1970; the years end with 9999.
    created_at bigint NOT NULL
        DEFAULT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint
        CHECK (created_at BETWEEN 0 AND 253402300799999999),
    version bigint NOT NULL DEFAULT 0
);

-- A product's comments, the newest first, are read from its end.
CREATE INDEX comments_by_product ON comments (product_id, created_at, id);

-- A version is never used twice for one id: not after a change by hand, and not when a comment is
-- deleted and another of its id created. `highest` is the highest version ever deleted.
CREATE TABLE comments_deleted (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    highest bigint NOT NULL
);
INSERT INTO comments_deleted (highest) VALUES (0);

CREATE FUNCTION comments_version() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        NEW.version := 1 + (SELECT highest FROM comments_deleted);
        RETURN NEW;
    ELSIF TG_OP = 'UPDATE' THEN
        NEW.version := OLD.version + 1;
        RETURN NEW;
    ELSIF TG_OP = 'DELETE' THEN
        UPDATE comments_deleted SET highest = OLD.version WHERE highest < OLD.version;
    ELSE
        UPDATE comments_deleted
            SET highest = greatest(highest, (SELECT max(version) FROM comments));
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER comments_version_insert BEFORE INSERT ON comments
    FOR EACH ROW WHEN (NEW.version < 1) EXECUTE FUNCTION comments_version();
CREATE TRIGGER comments_version_update BEFORE UPDATE ON comments
    FOR EACH ROW WHEN (NEW.version <= OLD.version) EXECUTE FUNCTION comments_version();
CREATE TRIGGER comments_version_delete AFTER DELETE ON comments
    FOR EACH ROW EXECUTE FUNCTION comments_version();
CREATE TRIGGER comments_version_truncate BEFORE TRUNCATE ON comments
    FOR EACH STATEMENT EXECUTE FUNCTION comments_version();
ALTER TABLE comments ENABLE ALWAYS TRIGGER comments_version_insert;
ALTER TABLE comments ENABLE ALWAYS TRIGGER comments_version_update;
ALTER TABLE comments ENABLE ALWAYS TRIGGER comments_version_delete;
ALTER TABLE comments ENABLE ALWAYS TRIGGER comments_version_truncate;
